"""Everything a site runs: read, train, pack, send; receive, admit, synthesise, fit, revoke."""
