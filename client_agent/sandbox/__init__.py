"""Running foreign modules in a process of their own that can reach nothing but its own memory.

`process.py` is the agent's side, `worker.py` the confined one; `wire.py` is what passes between
them. `confinement.py` puts the layers on, one file each: `namespaces.py`, `landlock.py`,
`seccomp.py`, `resource_limits.py`. `layers.py` says which of them this machine has.
"""
