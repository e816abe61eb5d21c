"""The style sheet and the script of pages."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --raised: #f5f6f8; --ink: #1d2129; --soft: #565d69; --faint: #8b929e; --rule: #dfe2e7;
  --blue: #0072b2; --orange: #d48806; --green: #008f68; --red: #d55e00; --purple: #b8578f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --raised: #1d2128; --ink: #e4e7ec; --soft: #a9b0bc; --faint: #828a97; --rule: #333943;
    --blue: #56b4e9; --orange: #e69f00; --green: #2fbf95; --red: #ee7d33; --purple: #d98fb8;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
}
main { max-width: 960px; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.25rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 1rem; letter-spacing: -.005em; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { margin: 0 0 .75rem; max-width: 46rem; }
a { color: var(--blue); }
section { margin-top: 2.75rem; padding-top: 1.75rem; border-top: 1px solid var(--rule); }
.kicker { color: var(--soft); font-size: .85rem; margin: 0 0 .25rem; }
.note, figcaption { color: var(--soft); font-size: .875rem; }
.verdict { border-left: 3px solid var(--faint); padding: .1rem 0 .1rem 1rem; margin: 0 0 1.5rem; }
.verdict.better { border-color: var(--green); }
.verdict.worse { border-color: var(--red); }
.verdict p { margin: 0 0 .5rem; overflow-wrap: anywhere; }
.verdict p:last-child { margin: 0; }
.verdict .first { font-size: 1.1rem; font-weight: 600; line-height: 1.45; }
.verdict p:not(.first) { color: var(--soft); }
dl.facts { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 1.25rem 0; }
dl.facts dt { color: var(--soft); font-size: .8rem; }
dl.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-top: 1.5rem; font-size: .9rem; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .85em; }
code { overflow-wrap: anywhere; }
pre {
  background: var(--raised); border-radius: 6px; padding: .75rem 1rem; margin: 0 0 .75rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .825rem;
}
pre code { font-size: inherit; }
.typeset { overflow-x: auto; padding: .25rem 0 .5rem; }
.typeset svg { display: block; max-width: none; }
.copied { position: relative; }
.copied pre { padding-right: 8.5rem; max-height: 14rem; overflow-y: auto; }
button { font: inherit; color: inherit; cursor: pointer; }
.copy {
  position: absolute; top: .45rem; right: .6rem; background: var(--paper); border: 1px solid var(--rule);
  border-radius: 5px; padding: .15rem .6rem; font-size: .8rem;
}
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
figure { margin: 1rem 0; min-width: 0; }
figcaption { margin-top: .35rem; max-width: 46rem; }
svg.drawing { display: block; max-width: 100%; height: auto; overflow: visible; }
.pan { overflow-x: auto; }
.pan svg.drawing[width="720"] { min-width: 34rem; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg.drawing text { font-family: inherit; fill: var(--ink); }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .5rem 2rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: 1rem 1.25rem; }
.cards figure { margin: 0; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { text-align: left; color: var(--soft); padding: 0 0 .5rem; font-size: .875rem; }
caption span { position: sticky; left: 0; display: inline-block; max-width: min(100%, calc(100vw - 2.25rem)); }
th, td { text-align: left; padding: .35rem .75rem; vertical-align: top; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { padding-left: .25rem; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; border-bottom: 1px solid var(--faint); }
tbody th { font-weight: 600; white-space: nowrap; }
.num { text-align: right; white-space: nowrap; }
td code { display: inline-block; min-width: 15rem; }
.grid td code { min-width: 9rem; }
thead button { background: none; border: 0; padding: 0; font-weight: inherit; white-space: nowrap; }
.arrow { display: inline-block; width: .9em; text-align: center; }
.arrow::after { content: "↕"; opacity: .35; }
[aria-sort=ascending] .arrow::after { content: "↑"; opacity: 1; }
[aria-sort=descending] .arrow::after { content: "↓"; opacity: 1; }
.on-front { background: color-mix(in srgb, var(--blue) 9%, transparent); }
.total td, .total th { font-weight: 600; border-bottom: 0; }
.lineage td, .lineage th {
  height: 30px; padding-top: 0; padding-bottom: 0; vertical-align: middle; white-space: nowrap; border-bottom: 0;
}
.lineage td code { min-width: 0; overflow-wrap: normal; }
.lineage .rail { padding: 0 .25rem; line-height: 0; }
.lineage .rail svg { display: block; }
.rail path { fill: none; stroke: var(--faint); stroke-width: 1.5; }
.rail circle { fill: var(--blue); stroke: var(--paper); stroke-width: 1.5; }
.lineage tr:target { background: color-mix(in srgb, var(--orange) 18%, transparent); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
summary { cursor: pointer; padding: .25rem 0; }
@media (max-width: 500px) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  .verdict .first { font-size: 1rem; }
  .copied pre { padding: 2.6rem 1rem .75rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root {
    --paper: #ffffff; --raised: #f5f6f8; --ink: #000000; --soft: #444444; --faint: #777777; --rule: #cccccc;
    --blue: #0072b2; --orange: #d48806; --green: #008f68; --red: #d55e00; --purple: #b8578f;
  }
  main { max-width: none; padding: 0; }
  nav, .copy, .arrow { display: none; }
  figure, tr, .verdict { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll, .typeset { overflow: visible; }
  .copied pre { max-height: none; padding-right: 1rem; }
  .lineage td { white-space: normal; }
}
"""

SCRIPT = """
"use strict";
(() => {
  const key = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent.trim().toLowerCase();
    const value = cell.dataset.key;
    return value === "inf" ? Infinity : value === "-inf" ? -Infinity : value === "" ? null : Number(value);
  };
  const sort = (table, column, down) => {
    const head = table.tHead.rows[0].cells[column];
    const numeric = head.classList.contains("num");
    const rows = Array.from(table.tBodies[0].rows, (row, place) => ({ row, place, value: key(row, column, numeric) }));
    rows.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.place - b.place;
      const order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
      return (down ? -order : order) || a.place - b.place;
    });
    table.tBodies[0].append(...rows.map((r) => r.row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  for (const table of document.querySelectorAll("table.sorts")) {
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        sort(table, column, head.getAttribute("aria-sort") === "ascending");
      });
    });
  }
  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  for (const button of document.querySelectorAll("button.copy")) {
    const said = button.textContent;
    button.addEventListener("click", () => {
      copy(document.getElementById(button.dataset.copy).textContent)
        .then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Not copied"; })
        .finally(() => setTimeout(() => { button.textContent = said; }, 1500));
    });
  }
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
})();
"""
