"""A corpus of hostile modules, built by code: `table.ATTACKS` names each and why it is refused.

Each is published and signed by a site that is enrolled and means harm. `attack.py` says what an
attack is; the other files hold the builders, one file for each part of a module that lies.
"""
