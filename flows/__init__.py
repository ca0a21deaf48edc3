"""The flows: the order of the tasks."""

from triptych.system.environment import apply_environment

# Where a worker runs a flow, its environment is all there is: no start of a run may set another one.
apply_environment(quiet=False)
