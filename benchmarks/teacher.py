"""What does a teacher's job cost besides the teacher? Requests through the reversed path against a stub server.

    python benchmarks/teacher.py [--n 10000] [--latency 0.5] [--concurrency 32] [--json FILE]

The server is a process of its own that answers after a fixed latency, so `concurrency / latency` is the most that any
client can get from it. Time on the clock depends on how busy the machine is; the processor time per request does not, and
neither does the memory, which is taken after every tenth of the job.
"""
import argparse
import asyncio
import json
import multiprocessing
import re
import resource
import tempfile
import time
from pathlib import Path

from tool_use_dpo.generate import load_catalogue
from tool_use_dpo.teacher import Teacher, teach


def say(value):
    "Every value of a call in plain words."
    if isinstance(value, dict): return ", ".join(f"{re.sub(r'[_.]+', ' ', k)} {say(v)}" for k, v in value.items())
    return " and ".join(map(say, value)) if isinstance(value, list) else str(value)


async def answer(reader, writer, latency):
    "Answer the requests of one connection."
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked = json.loads(await reader.readexactly(int(re.search(rb"content-length: *(\d+)", head, re.I)[1])))
            prompt = asked["messages"][-1]["content"]
            text = json.dumps({"request": f"I need this, {say(json.loads(prompt.split('call:', 1)[1].splitlines()[1]))}"})
            usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
            body = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}).encode()
            await asyncio.sleep(latency)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError): pass
    finally: writer.close()


def serve(latency, pipe):
    "A server on a free port, which it sends through the pipe."
    async def main():
        server = await asyncio.start_server(lambda r, w: answer(r, w, latency), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()
    asyncio.run(main())


def memory():
    "Resident memory of this process, in MB."
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="triplets to make (default: 10,000)")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds before the server answers (default: 0.5)")
    parser.add_argument("--concurrency", type=int, default=32, help="requests at a time (default: 32)")
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(args.latency, theirs), daemon=True)
    server.start()
    folder, tenths = tempfile.mkdtemp(), {}

    def look(job):
        "Memory at every tenth."
        tenth = 10 * job.made // args.n
        if tenth not in tenths: tenths[tenth] = round(memory(), 1)

    teacher = Teacher("stub", f"http://127.0.0.1:{ours.recv()}/v1", concurrency=args.concurrency, timeout=600, key_env="STUB_KEY")
    tools = [{k: t[k] for k in ("name", "description", "parameters")} for t in load_catalogue("train")]
    clock, cpu = time.perf_counter(), time.process_time()
    report = teach(args.n, f"{folder}/t.jsonl", teacher, tools, show=look)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    server.kill()
    bound = args.concurrency / args.latency
    figures = {"made": report["made"], "requests": report["requests"], "stopped": report["stopped"], "discard_rate": report["discard_rate"],
               "concurrency": args.concurrency, "server_latency_s": args.latency, "server_bound_per_s": bound,
               "requests_per_s": round(report["requests"] / clock, 1), "share_of_bound": round(report["requests"] / clock / bound, 3),
               "client_cpu_ms_per_request": round(1000 * cpu / report["requests"], 2), "seconds": round(clock, 1),
               "memory_mb_by_tenth": [tenths[t] for t in sorted(tenths)]}
    for name, value in figures.items(): print(f"{name:28} {value}")
    if args.json:
        with open(args.json, "a") as f: f.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
