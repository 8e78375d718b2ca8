// A worker with the official TypeScript SDK; it takes orders on stdin, one JSON object a line.

import { appendFileSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [url, group, sdk, folder] = process.argv.slice(2);
const modules = `${folder}/node_modules/${sdk}/dist/src/async/index.js`;
const { Constant, Never, Resonate } = await import(pathToFileURL(modules));

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const note = (path) => {
  appendFileSync(path, `${process.pid}\n`);
  return readFileSync(path, "utf8").trim().split("\n").length;
};

const functions = {
  add: async (ctx, a, b) => a + b,
  double: async (ctx, x) => x * 2,
  twice: async (ctx, x) => {
    const once = await ctx.run("double", x);
    return await ctx.run("double", once);
  },
  call: async (ctx, func, target, ...args) => await ctx.rpc(func, ...args, ctx.options({ target })),
  fan: async (ctx, func, target, number) => {
    const calls = [];
    for (let n = 0; n < number; n++) calls.push(ctx.rpc(func, n, 1, ctx.options({ target })));
    let sum = 0;
    for (const one of calls) sum += await one;
    return sum;
  },
  nap: async (ctx, seconds) => {
    await ctx.sleep(seconds * 1000);
    return "slept";
  },
  ask: async (ctx) => await ctx.promise(),
  ask_people: async (ctx, task) => await ctx.promise({ tags: { "signoff:task": JSON.stringify(task) } }),
  detach: async (ctx, func, target, ...args) =>
    (await ctx.detached(func, ...args, ctx.options({ target }))).id,
  fail: async (ctx, text) => {
    throw new Error(text);
  },
  unreliable: async (ctx, path, failures) => {
    if (note(path) <= failures) throw new Error("not yet");
    return "at last";
  },
  flaky: async (ctx, path, failures) =>
    await ctx.run(
      "unreliable",
      path,
      failures,
      ctx.options({ retryPolicy: new Constant({ delay: 10, maxRetries: 5 }) }),
    ),
  note_pid: async (ctx, path) => {
    note(path);
    return process.pid;
  },
  survive: async (ctx, path) => {
    const first = await ctx.run("note_pid", path);
    if (first === process.pid) await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    return "adopted";
  },
};

const resonate = new Resonate({ url, group, ttl: 4000 });
const names = process.env.INTEROP_FUNCTIONS;
for (const [name, call] of Object.entries(functions))
  if (!names || names.split(",").includes(name)) resonate.register(name, call);

const carryOut = async (order) => {
  const options = resonate.options({
    timeout: 300_000,
    ...(order.target ? { target: order.target } : {}),
  });
  switch (order.do) {
    case "run":
      return await (await resonate.run(order.id, order.func, ...order.args, options)).result();
    case "rpc":
      return await (await resonate.rpc(order.id, order.func, ...order.args, options)).result();
    case "begin":
      return (await resonate.rpc(order.id, order.func, ...order.args, options)).id;
    case "get":
      return await (await resonate.get(order.id)).result();
    case "schedule":
      await resonate.schedule(order.id, order.cron, order.func, ...order.args, options);
      return null;
    case "unschedule":
      await resonate.schedules.delete(order.id);
      return null;
  }
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const order = JSON.parse(line);
  try {
    say({ n: order.n, result: (await carryOut(order)) ?? null });
  } catch (error) {
    say({ n: order.n, error: `${error?.name}: ${error?.message ?? error}` });
  }
});
lines.on("close", async () => {
  await resonate.stop();
  process.exit(0);
});
say({ ready: true });
