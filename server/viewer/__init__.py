"""The web viewer OHIF: installed from its npm package, served below `/ui/viewer`, preset to this server.

Rule: OHIF is never part of this distribution, and what it asks the network for is this server alone.
"""
