"""Where a site's heavy work is done: in this process, in several, or on the nodes of a Ray cluster.

`engine.py` is all that the steps know. `local.py` and `ray.py` are the two engines; both hand
their orders out through `dispatch.py` and have them carried out by `work.py`, so that a class is
trained by the same lines of code wherever it is.
"""
