"""Proof by experiment that a site's code keeps its claim: `fedpriv audit`.

Every experiment runs the code that serves real runs, on generated records, and compares what comes out with what the
plan and the ledger say. The same experiments are then run on code with a fault in it (`defects`), and must notice.
"""
