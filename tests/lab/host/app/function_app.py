"""The application under test: small functions that show what the host handed them.

What a queue or timer function saw goes to a queue named by a setting, so that another process can read it too.
"""

import asyncio
import json
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
STORAGE = "AzureWebJobsStorage"


@app.route(route="hello/{name}", methods=["GET", "PUT"], auth_level=func.AuthLevel.ANONYMOUS)
async def hello(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "name": req.route_params["name"],
        "forwarded": req.headers["X-Forwarded-For"],
        "query": dict(req.params),
        "body": req.get_body().decode(),
        "method": req.method,
    }
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json", headers={"X-Extra": "1"})


@app.route(route="hello/me", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def literal(req: func.HttpRequest) -> str:
    return "literal"


@app.route(route="hello/{number:int}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def number(req: func.HttpRequest) -> str:
    return f"int {int(req.route_params['number'])}"


@app.route(route="files/{*rest}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def files(req: func.HttpRequest) -> str:
    return str(req.route_params.get("rest", "(none)"))


@app.route(route="list/{kind?}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def listing(req: func.HttpRequest) -> str:
    return str(req.route_params.get("kind", "(all)"))


@app.route(route="keyed", methods=["GET"])
def keyed(req: func.HttpRequest, context: func.Context) -> str:
    return f"{context.function_name} {len(context.invocation_id)}"


@app.route(route="master", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
def master(req: func.HttpRequest) -> str:
    return "master"


@app.route(route="broken", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> str:
    raise ValueError(f"cannot use {req.get_body().decode()}")


@app.route(route="slow", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output(arg_name="out", queue_name="%SEEN%", connection=STORAGE)
async def slow(req: func.HttpRequest, out: func.Out[str]) -> str:
    await asyncio.sleep(0.5)
    out.set("slow done")
    return "slow"


@app.route(route="send", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.queue_output(arg_name="one", queue_name="%WORK%", connection=STORAGE)
@app.queue_output(arg_name="many", queue_name="%BATCH%", connection=STORAGE)
def send(req: func.HttpRequest, one: func.Out[str], many: func.Out[list[str]]) -> func.HttpResponse:
    one.set(req.get_body().decode())
    many.set(["a", "b", "c"])
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="message", queue_name="%WORK%", connection=STORAGE)
@app.queue_output(arg_name="out", queue_name="%SEEN%", connection=STORAGE)
async def work(message: func.QueueMessage, out: func.Out[str]) -> None:
    body = message.get_body().decode()
    if body.startswith("fail"):
        raise RuntimeError(f"refused {body}")
    if body.startswith("late") and (message.dequeue_count or 0) < 2:
        raise RuntimeError("not yet")
    if body.startswith("long"):
        await asyncio.sleep(float(body.split()[1]))
    out.set(json.dumps({"body": body, "count": message.dequeue_count, "id": message.id}))


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
@app.queue_output(arg_name="out", queue_name="%TICKS%", connection=STORAGE)
def tick(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set(json.dumps({"at": time.time(), "past_due": timer.past_due, "status": timer.schedule_status}))  # type: ignore[attr-defined]
