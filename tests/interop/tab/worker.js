// A worker with the official TypeScript SDK in a browser tab; the address of the page says where
// the gateway is, which group to serve and with which token.

import { Resonate } from "@resonatehq/sdk/async";

const { url, group, token } = Object.fromEntries(new URLSearchParams(location.search));
const life = crypto.randomUUID(); // of this page, until it is loaded again

const functions = {
  double: async (ctx, x) => x * 2,
  twice: async (ctx, x) => await ctx.run("double", await ctx.run("double", x)),
  call: async (ctx, func, target, ...args) => await ctx.rpc(func, ...args, ctx.options({ target })),
  ask: async (ctx) => [life, await ctx.promise()],
  fail: async (ctx, text) => {
    throw new Error(text);
  },
  life: async () => life,
  // Hold on for ever in the first page, be done at once in the next.
  outlive: async (ctx) => {
    const first = await ctx.run("life");
    if (first === life) await new Promise(() => {});
    return [first, life];
  },
};

const resonate = new Resonate({ url, group, token, ttl: 4000 });
for (const [name, call] of Object.entries(functions)) resonate.register(name, call);

globalThis.run = async (id, func, ...args) =>
  await (await resonate.run(id, func, ...args, resonate.options({ timeout: 60_000 }))).result();
document.querySelector("#status").textContent = life;
