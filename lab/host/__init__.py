"""A small Azure Functions host: runs a Python (v2 model) `function_app.py` unchanged, without Core Tools.

Core Tools fetch their binary from outside any package registry when installed, so neither the tests nor a newcomer's
first run may need them. What is kept is what an application can tell apart: routes and keys, the queue trigger's
hiding, renewal, counting and poison queue, the timer's lease, catch-up and absence of overlap. What is given up: other
bindings (refused by name at the start), function timeouts, scaling, and one instance group per function. All
functions share this process, so an application that leans on shared memory works here and fails on Flex Consumption.
"""
