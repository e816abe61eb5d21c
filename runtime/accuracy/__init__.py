"""How accurate a loss is: bits of error of value and gradient against mpmath, before and after compilation.

    >>> report = lossc.accuracy(lossc.parse("log(1 + exp(f)) - y*f"))
    >>> print(report.verdict())

`truth` knows what is right, `points` where to look, `formats` what an ulp is, `measure` runs the programs, `dead` finds
where a clamp stops the gradient, `report` says what came of it, `figure` draws it.
"""

from lossc.runtime.accuracy.measure import accuracy
from lossc.runtime.accuracy.report import AccuracyReport

__all__ = ["AccuracyReport", "accuracy"]
