"""MLflow: the only package that imports it.

There is one experiment per board. A comparison is one run for each panel and repeat, and one run named `comparison`;
they share the tag `triptych.comparison`. Panel runs are not nested, because MLflow's page would hide their charts.
"""
