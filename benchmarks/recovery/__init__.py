"""The comparison's frame: data, splits, budget, the contract of an arm, results and figures.

`data` and `splits` lay the hospitals out, `task` is what an arm is given (never the test images),
benchmarks/arms holds the arms, `contest` runs and measures them, `results`, `table` and `figures`
show what came out. The command is benchmarks/recover.py.
"""
