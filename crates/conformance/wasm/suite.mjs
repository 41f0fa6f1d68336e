// What runs in Node and in browsers alike: a module, the files it judges, and its own words about them.

export class Module {
  static async load(bytes) {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return Object.assign(new Module(), { exports: instance.exports });
  }

  write(...parts) {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    let at = this.exports.reserve(bytes) >>> 0;
    for (const part of parts) {
      new Uint8Array(this.exports.memory.buffer, at, part.length).set(part);
      at += part.length;
    }
  }

  text(bytes) {
    return new TextDecoder().decode(new Uint8Array(this.exports.memory.buffer, this.exports.text() >>> 0, bytes).slice());
  }

  keep(name, contents) {
    const encoded = new TextEncoder().encode(name);
    this.write(encoded, contents);
    this.exports.keep(encoded.length);
  }
}

// Files as [name, contents]; the report of the module.
export async function replay(module, files) {
  const instance = await Module.load(module);
  for (const [name, contents] of files) instance.keep(name, contents);
  return instance.text(instance.exports.replay());
}

// Milliseconds of a run: the median of `runs` after as many for warm-up. Instruction set -1 is the best of the module.
export async function time(module, model, isa = -1, runs = 200) {
  const instance = await Module.load(module);
  instance.write(model);
  const name = instance.text(instance.exports.load(isa));
  const times = [];
  for (let run = 0; run < 2 * runs; run++) {
    const start = performance.now();
    if (instance.exports.run(1) !== 1) throw new Error(`${name}: the run failed`);
    if (run >= runs) times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { isa: name, latency_ms_p50: times[runs >> 1] };
}
