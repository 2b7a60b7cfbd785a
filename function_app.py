"""Registers the blueprints, and nothing else."""

import azure.functions as func

from functions import agents, alerts, diagnose, events, imports, openapi, plans, reconcile, retention, specs

app = func.FunctionApp()
app.register_functions(specs.blueprint)
app.register_functions(plans.blueprint)
app.register_functions(imports.blueprint)
app.register_functions(events.blueprint)
app.register_functions(alerts.blueprint)
app.register_functions(diagnose.blueprint)
app.register_functions(openapi.blueprint)
app.register_functions(agents.blueprint)
app.register_functions(reconcile.blueprint)
app.register_functions(retention.blueprint)
