"""Every complaint of lossc by its code: what it means, an example, what to do. `lossc explain L012` prints these.

L0xx  the text is not a loss           L2xx  the call is at fault, not the loss
L1xx  a limit is exceeded              L3xx  the loss is well written, but means nothing
L33x  warnings                         L9xx  lossc is at fault

A test compares this table with the codes that the source uses.
"""

from __future__ import annotations

CODES: dict[str, str] = {
    "L001": """A character that is no sign of the language.
Example: `|y - f|`, `y × f`, `n!`
Formulas are written in ASCII: abs(x) for |x|, `*` for ×, `^2` for ². Comments and docstrings may hold any text.""",
    "L002": """A control character, an invisible character, or bytes that are not UTF-8.
Example: a zero-width space that came along with a formula copied from a web page.
Type the marked place again.""",
    "L003": """A word or sign that cannot stand at its place.
Example: `log(y,)`, `a < b < c`
The message says what could stand there.""",
    "L004": """Brackets that do not match.
Example: `log(y`, `y)`, `(y]`
Every `(` needs a `)`, every `[` a `]`, in the right order.""",
    "L005": """An operator is missing between two operands: nothing is multiplied by standing side by side.
Example: `2y`, `(y - f)(y + f)`
Write `2*y`, `(y - f)*(y + f)`.""",
    "L006": """An operand or the formula itself is missing.
Example: `y +`, `log()*2`, a definition without a formula
Write the expression that the operator, bracket or header still waits for.""",
    "L007": """A single `=` inside an expression.
Example: `where(y = 1, a, b)`
`==` compares; `name = ...` at the beginning of a line names a value.""",
    "L008": """Something that begins like a number and is none.
Example: `1.2.3`, `0x10`, `1_000`, `2e`
Numbers are decimal: 2, 0.5, .5, 1e-7.""",
    "L009": """The header of a definition is not well formed.
Example: `loss huber(y: real, f: real, delta: positive = 1.0):`
The form is `loss name(y: role, f: role; delta: positive = 1.0):`, with the hyper-parameters after a `;`.""",
    "L010": """Python that is not part of the language.
Example: `np.log(y)`, `a if c else b`, `'text'`
Functions are called by their plain names; where(condition, a, b) chooses; nothing is imported or indexed.""",
    "L011": """The text is empty, or holds comments and helper functions only.
Example: an empty file
Write a formula such as `(y - f)^2`.""",
    "L013": """A definition goes on after its formula.
Example: a line that begins with `*`, or two formulas in one definition
A line ends a statement. Put brackets around a formula that takes several lines, and named values before it.""",
    "L020": """The text is not JSON.
Example: a file that was cut off
Write it again with `loss.to_json()`.""",
    "L021": """The JSON is not the JSON form of a loss.
Example: a key is missing, a node refers to one after it, a constant is a float
docs/language.md describes the form; constants are exact numbers written as text.""",
    "L022": """The JSON form has a version that this lossc does not read.
Example: `{"lossc": 2, ...}`
Use the version of lossc that wrote it, or print the loss as text there.""",
    "L101": """The text is longer than 10,000 bytes.
Split a file of many definitions into several files.""",
    "L102": """The text has more than 4,000 tokens (numbers, names and signs).
Name the parts that repeat, or write a helper function.""",
    "L103": """The text is nested more than 100 levels deep.
Open brackets count, and so do the minus signs and powers that wait for their operand.
Example: 5,000 parentheses
Name a part on a line of its own: `e = y - f`.""",
    "L104": """The formula has more than 2,000 nodes once named values and helper functions are written out.
Example: `b = a*a`, `c = b*b`, `d = c*c`, ... doubles with every line
Write a smaller formula.""",
    "L105": """A number has more than 40 digits, or an exponent beyond ±400.
Example: `1e999999999`
No target holds more than 17 digits and exponents of ±308: shorten it.""",
    "L106": """A constant exponent beyond ±64.
Example: `x^100`, `9**9**9**9`
Write exp(100*log(x)), which is x^100 for x > 0.""",
    "L107": """More than 64 hyper-parameters.
Write constants for those that never change.""",
    "L108": """A name of more than 64 characters.
Choose a shorter one.""",
    "L109": """The index of a coefficient is beyond 999,999.
Coefficients are numbered from 0: phi[0], phi[1], ...""",
    "L110": """Calls of helper functions build more than 10,000 nodes before anything is left out.
Example: a large helper function that is called a hundred times
Name its value once and use the name.""",
    "L111": """The formula is too large to print: more than 200,000 nodes as a tree.
Example: a second derivative of a very large formula
Use the JSON form (`loss.to_json()`), or emit it: both keep what is shared, which may be small.""",
    "L112": """The JSON form is too long, too deep, or stands for too large a loss.
The limits are 2,000,000 characters, 50,000 nodes, and 10,000,000 nodes once unfolded.""",
    "L113": """The expression tree is too large to become a loss network: more than 1,000 nodes.
Every edge of the tree gets a coefficient of its own, where the formula may share a part many times.
Simplify the loss, or learn the coefficients of a smaller one.""",
    "L201": """A hyper-parameter that the loss does not declare.
Example: `--set delta=2` for a loss without `delta`
`lossc show` prints the header with the names that it has.""",
    "L202": """A value that a hyper-parameter cannot have.
Example: `delta = -1` where the header says `delta: positive`
Give a number that suits the role.""",
    "L203": """Derivatives of order 1 and 2 are offered.
Example: `loss.grad("f", order=3)`
Differentiate the result again.""",
    "L204": """The time limit for simplifying is not between 0 and 3,600 seconds.
Example: `loss.simplify(timeout=-1)`""",
    "L205": """A numeric policy that does not exist.
Example: `--eps clip`, `--kinks both`
The policies are none, add and clamp for eps, and torch, zero, left, right and mid for kinks. docs/numerics.md shows
what they do.""",
    "L206": """A loss whose learning rule cannot be looked at as that of a classification.
Example: `lossc rule "(y - f)^2"` without roles, a loss that has no value at y = 0, one without f
Declare y: onehot (or binary, sign) and f: prob (or logit, real); write xlogy(y, y) for y*log(y).""",
    "L207": """A number of classes that a row cannot have.
Example: `lossc rule ace --classes 1`, `lossc rule bce --classes 10` (each label is judged on its own)
Give 2 or more, or leave C a symbol.""",
    "L208": """A loss without numbers where there must be some to judge it.
Example: `lossc analyze` of a loss with a hyper-parameter without a default, or with coefficients φ
Give a value with --set name=value, or write numbers in place of the coefficients.""",
    "L209": """A box, or the name of a property, that cannot be.
Example: `--box f=2..1`, `--box f=-1..1` of a probability
A box is bounded, and within what the role of y or f allows; docs/properties.md lists the properties.""",
    "L210": """A dialect that does not exist.
Example: `--dialect evo`
The dialects are lossc, evomal (the thesis's protected operators) and public (its public code's clamped ones).""",
    "L211": """A role, given beside the formula, that y or f cannot have.
Example: `lossc.parse("y - f", y="one-hot")`
docs/language.md lists the roles: real, positive, count, binary, sign, onehot, prob, logit.""",
    "L212": """A file that cannot be read as a text of the language.
Example: it does not exist, is larger than 10,000 bytes, or is not UTF-8""",
    "L213": """The formula is not a text.
Example: `lossc.parse(3)`
Pass a string.""",
    "L214": """One loss was wanted, and the text defines several.
Example: `lossc.parse` of a file with two definitions
`lossc.parse_file` and `lossc.grammar.parse_losses` give them all.""",
    "L215": """A bare formula was wanted, and the text defines a loss.
Example: `lossc.grammar.parse_expr` of a text with a header
`lossc.parse` reads definitions.""",
    "L220": """A data set that does not exist.
Example: `lossc train mse --task diabets`
The message lists those that there are.""",
    "L221": """A task, or a size, model, split or scale of a task, that does not exist.
Example: `lossc train mse --task mnist-1d`
The message lists those that there are.""",
    "L222": """The loss does not suit the task or the training loop.
Example: a loss with `y: onehot` for a regression task
Declare other roles, or choose another task.""",
    "L223": """A setting of a training run that cannot be.
Example: `--lr 0`, `--steps -1`
Give a positive number.""",
    "L224": """A comparison without seeds, or with a seed that stands twice.
Example: `--seeds 1,1`
Each seed is one pair of runs: give each once.""",
    "L225": """A split whose test rows are also trained on. It is a warning.
Example: `lossc train mse --task diabetes --split as-published`
The public EvoMAL code deals its tabular sets so; its test errors are too good. Without --split, no row is shared.""",
    "L226": """The files of a data set are not there.
Example: `lossc train ace --task mnist` without a data folder
Name the folder with --data or the variable LOSSC_DATA; docs/tasks.md shows how it is laid out. Nothing is fetched.""",
    "L227": """A data file that is damaged, or is not what its name says.
Example: an image file that was cut short in a copy, a pickle that names more than numpy's arrays
Get the file again from its publisher.""",
    "L230": """An input that cannot be read.
Example: a file that does not exist, standard input that is empty
Give a formula, the path of a `.loss` or `.json` file, or the name of a loss.""",
    "L231": """A name that is no formula, no file and no named loss.
Example: `lossc show pseudo_hubber`
`lossc list` shows the named losses.""",
    "L232": """The part of a file that was asked for is not there, or none was asked for and there are several.
Example: `losses/robust.loss:huber`
The message lists the losses of the file.""",
    "L233": """An output that cannot be written. Nothing was left behind.
Example: a folder that does not exist, a full disk
Choose another path.""",
    "L234": """A file that would be overwritten.
Give `--force`, or another path.""",
    "L235": """An option or command that cannot be.
Example: `lossc compil`, `--y onhot`
`lossc COMMAND --help` shows examples.""",
    "L236": """An option whose text cannot be read.
Example: `--set delta:2`
The form is `--set delta=2`.""",
    "L237": """A Python file where a formula is wanted.
Example: `lossc show mse.py`
Only `lossc train` takes an emitted file.""",
    "L240": """A target that does not exist.
Example: `loss.emit("fortran")`
The message lists those that there are.""",
    "L241": """A reduction other than mean, sum and none.
Example: `loss.to_torch(reduction="average")`""",
    "L242": """A hyper-parameter without a default, and no value given.
Example: `loss.to_torch()` where the header says `delta: positive`
Pass it: `loss.to_torch(delta=1.0)`, or give it a default in the header.""",
    "L243": """A Python file without a loss module in it.
Example: `lossc train script.py`
The file must define `Loss`, a subclass of torch.nn.Module, as the files do that lossc emits.""",
    "L244": """Source text that lossc does not load, because lossc cannot have emitted it.
Only emitted source is loaded from memory; a file that you name yourself is your own code, and may hold anything.""",
    "L245": """An option of compilation that does not exist.
Example: `loss.to_torch(dtype="float8")`
The message lists those that do.""",
    "L246": """Warning: an exported file failed its self-test, or its target failed.
Example: `lossc export mse --to all -o out/` with a library of another version
The report in the folder says what each self-test said.""",
    "L250": """An output activation, or a part of a loss network, that does not exist.
Example: `--activation relu`
A symbolic loss ends in identity, softplus or smooth-leaky-relu; the message says what a network may have.""",
    "L251": """A loss that is to get learnable coefficients has some already.
Fold the coefficients into numbers first (`network.fold()`), then parameterize again.""",
    "L252": """Coefficients that do not fit the loss: too few, too many, or not finite numbers.
`network.phi` holds as many as the loss has.""",
    "L253": """An engine for meta-gradients that does not exist, or is not for this case.
Example: `--engine jvp1 --inner-steps 5` (jvp1 is for one inner step)
`--engine auto` takes the fastest one that is exact here.""",
    "L254": """The text or file is not a learned loss network.
Example: a file that was cut off, or edited by hand
Learned networks are written by `lossc optimize -o` and `lossc_network` stands at their beginning.""",
    "L255": """A setting or preset of meta-learning that cannot be.
Example: `--inner-steps 0`, `--preset paper`
The message says what was expected; `lossc optimize --help` lists the settings.""",
    "L256": """A folder does not hold the run that is to be gone on with.
Example: `--resume` with another loss, task or setting than the run was started with
Give the settings that the run has (config.json in its folder says which), or start a run in a new folder.""",
    "L257": """Another process works on the run.
Example: the same command in two terminals
Wait for it, or stop it; the lock goes with the process.""",
    "L258": """A package that is not needed otherwise is not installed.
Example: `--optimizer cma` without the package `cma`, `--tensorboard` without `tensorboard`
Install it with pip.""",
    "L259": """Workers that cannot be started or reached, or are gone.
Example: `--address tcp://HOST:8786` where no Dask scheduler runs; a worker that lacks a file of the task
The message says what the worker said. What was journalled is kept: `lossc resume FOLDER` goes on from it.""",
    "L260": """A figure that cannot be drawn.
Example: `lossc accuracy mse --plot mse.jpg`
Figures are .png, .svg or .pdf files, and matplotlib draws them: it must be installed.""",
    "L270": """A function that a loss cannot be searched with, or a set of functions without one of two arguments.
Example: `--ops add,sum_c`, `--ops tanh,abs`
The functions of a search are elementwise, of one or two numbers; log, sqrt and div mean the protected ones.""",
    "L271": """A search that has found nothing yet.
Example: `lossc best runs/a` a moment after its start
Go on with it, give it more generations, or other functions.""",
    "L272": """A search was begun with other versions of Python, torch, NumPy or lossc, or on another kind of machine.
Example: `lossc resume runs/a` after an upgrade of torch
Install the versions that the message names, or go on with --allow-changes: the losses may then be other ones.""",
    "L301": """A function that does not exist.
Example: `lgo(y)`
docs/language.md lists all functions; `name(a) = ...` on a line of its own defines one.""",
    "L302": """A function with too few or too many arguments.
Example: `clamp(y, 1)`
The message shows how it is called.""",
    "L303": """A condition where a number belongs, or the other way round.
Example: `(y > f)*2`, `where(y, 1, 0)`
where(condition, a, b) makes a number of a condition: `where(y > f, 1, 0)*2`.""",
    "L304": """A name or index that is not well formed.
Example: `phi[1.5]`, a hyper-parameter named `my-delta`
Names are ASCII letters, digits and underscores, not beginning with a digit.""",
    "L305": """A role that does not exist, or that this argument cannot have.
Example: `loss ce(y: one_hot, f: prob):`
The message lists the roles; docs/language.md says what each promises.""",
    "L306": """Two hyper-parameters with one name.
Rename one of them.""",
    "L307": """A hyper-parameter that is used, but not declared.
Declare it in the header: `loss name(y, f; delta: positive = 1.0):`""",
    "L308": """A name that stands for nothing at its place.
Example: `delta*(y - f)` without a hyper-parameter `delta`
Declare it in the header, with params={"delta": 1.0} or with --param delta=1.0; name a value before it is used.""",
    "L309": """A name that means something already.
Example: `y = 2`, `target = y - f`, the same name defined twice
Choose another one. The constants pi, e, eps and C may be hidden; y, f and their other names may not.""",
    "L310": """An operator without a derivative in closed form.
Example: the derivative of trigamma
Differentiate less often, or let automatic differentiation do it.""",
    "L311": """A division of two numbers by zero.
Example: `1/0`
Use a divisor other than 0.""",
    "L312": """A function without its arguments, or a value that is called like a function.
Example: `log*y`, `y(2)`
Write `log(y)`; to multiply, write `y*(2)`.""",
    "L313": """A name that begins with two underscores.
Example: `__import__('os')`
Such names are reserved. Nothing of a formula is ever evaluated as Python.""",
    "L316": """A helper function that calls itself, or is used before it is defined.
Example: `g(a) = g(a - 1)`
Helper functions are expanded where they are called, so they cannot be recursive: define each before it is used.""",
    "L317": """The default of a hyper-parameter is not a number.
Example: `loss huber(y, f; delta = y):`
Write a number such as 1.0, 1e-3 or 1/3.""",
    "L320": """There is nothing to learn: the loss does not depend on the prediction.
Example: training with `y^2`
Write a formula with f in it.""",
    "L321": """The redistributed-loss trick does not apply to the loss.
Example: `lossc sparsify mse`, or a loss with max_c(f)
It needs `y: onehot`, `f: prob`, and a loss that is a sum over the classes in which each has its own prediction.""",
    "L322": """No meta-step of a run had a finite gradient, so nothing was learned, and nothing was written.
Example: `lossc optimize "log(y - f)"`, whose value does not exist for half of all predictions
Use a loss that is defined for every prediction (`--dialect evomal` has protected operators), or a smaller --lr.""",
    "L330": """Warning: y or f is never used, so the loss does not depend on the target or the prediction.
Example: `f^2`
Right for a regulariser; otherwise a slip.""",
    "L331": """Warning: a named value or helper function is never used.
Leave it out.""",
    "L332": """Warning: a hyper-parameter is declared and never used.
Leave it out of the header.""",
    "L333": """Warning: a helper function hides the operator of the same name.
Example: `log(a) = plog(a)`
Right if it is meant; otherwise choose another name.""",
    "L334": """Warning: the loss needs the target's prediction only already, so there is nothing to redistribute.
Example: `lossc sparsify focal`
It is left as it is. With `--smooth` its targets are smoothed first, and then there is.""",
    "L335": """Warning: a constant that float32 cannot hold: it becomes 0, infinite or 1 there.
Example: `log(1 - f + 1e-50)`, `clamp(f, 1e-8, 1 - 1e-8)`
Compile with --dtype float64 if the loss is only used there; otherwise choose a constant that counts.""",
    "L340": """A constant that a float64 cannot hold: it would become 0 or infinite.
Example: `1e-400*(y - f)`
Write the loss in other units.""",
    "L341": """Learnable coefficients where numbers are needed.
Example: emitting a loss that holds phi[0]
Substitute their values first.""",
    "L342": """A constant that the dtype of --dtype cannot hold: it becomes 0, infinite or 1 there.
Example: `lossc compile "log(f + 1e-8)" --f positive --dtype float16`
Choose a constant that counts in that dtype, or leave --dtype out: then half precision is computed in float32.""",
    "L345": """An operator that a target has no form for.
Example: `lossc export "lgamma(f)" --f positive --to onnx`
`lossc targets` shows which target has which operator.""",
    "L346": """A loss that a booster cannot be given: it wants more than one label of an example.
Example: `loss.emit("xgboost")` where `y: binary` goes with an operator along the class axis
Boosters have one score a class and one label: use `y: onehot`, or a loss without class-axis operators.""",
    "L900": """A bug in lossc.
Please report it with the command that showed it; LOSSC_DEBUG=1 in the environment shows the traceback.""",
    "L901": """A command with --json that was interrupted (Ctrl-C) before it had a result.
Files that were whole by then stay; runs in a folder of their own go on there when they are called again.""",
}
