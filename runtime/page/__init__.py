"""Pages of HTML that need nothing else: escaped markup, one style sheet, figures as SVG in the colours of the page."""
