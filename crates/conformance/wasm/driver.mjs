// node driver.mjs node|BROWSER MODULE.wasm FOLDER...: the module judges every file of the folders, in Node or in a Chromium.
// Prints its report; the exit status is 0 when it has no failures.
// node driver.mjs time MODULE.wasm MODEL.tflite...: how long a run takes, in Node.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { replay, time } from "./suite.mjs";

const SECONDS_MAX = 900;
const PAGE = `<!doctype html><script type="module">
import { replay } from "./suite.mjs";
const get = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
const report = async () => {
  const names = await (await fetch("names.json")).json();
  const files = await Promise.all(names.map(async (name, index) => [name, await get("file/" + index)]));
  return replay(await get("module.wasm"), files);
};
const body = await report().catch((error) => "error: " + error);
await fetch("report", { method: "POST", body });
</script>`;

// Serves the page to a browser until it reports.
async function inBrowser(browser, module, files) {
  const answers = {
    "/": ["text/html", PAGE],
    "/suite.mjs": ["text/javascript", readFileSync(new URL("suite.mjs", import.meta.url))],
    "/module.wasm": ["application/wasm", module],
    "/names.json": ["application/json", JSON.stringify(files.map(([name]) => name))],
  };
  files.forEach(([, contents], index) => (answers[`/file/${index}`] = ["application/octet-stream", contents]));
  const profile = mkdtempSync(join(tmpdir(), "litesmith-browser-"));
  let child;
  try {
    return await new Promise((resolve, reject) => {
      const server = createServer((request, response) => {
        if (request.method === "POST") {
          const parts = [];
          request.on("data", (part) => parts.push(part));
          request.on("end", () => {
            response.end();
            server.close();
            resolve(Buffer.concat(parts).toString());
          });
          return;
        }
        const [type, body] = answers[request.url] ?? [];
        response.writeHead(type ? 200 : 404, { "content-type": type ?? "text/plain" }).end(body);
      });
      server.listen(0, "127.0.0.1", () => {
        const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
        const url = `http://127.0.0.1:${server.address().port}/`;
        child = spawn(browser, [...flags, `--user-data-dir=${profile}`, url], { stdio: "ignore" });
        child.on("error", reject);
        child.on("exit", (status) => reject(new Error(`${browser} ended with ${status} and without a report`)));
      });
      setTimeout(() => reject(new Error(`${browser} gave no report in ${SECONDS_MAX} s`)), SECONDS_MAX * 1000).unref();
    });
  } finally {
    const ended = new Promise((resolve) => child?.on("exit", resolve) ?? resolve());
    child?.kill();
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const [where, path, ...rest] = process.argv.slice(2);
const module = readFileSync(path);
if (where === "time") {
  for (const model of rest) {
    for (let isa = 0, last; ; isa++) {
      const found = await time(module, readFileSync(model), isa);
      if (found.isa === last) break;
      last = found.isa;
      console.log(`${basename(model)} ${found.isa}: ${found.latency_ms_p50.toFixed(3)} ms`);
    }
  }
} else {
  const files = rest.flatMap((folder) => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  const report = await (where === "node" ? replay(module, files) : inBrowser(where, module, files));
  process.stdout.write(report);
  process.exit(/, 0 failures\n$/.test(report) ? 0 : 1);
}
