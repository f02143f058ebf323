#!/usr/bin/env node
// Starts `aio`: loads the bundle's chunks through V8's code cache. Node's own compile cache comes with Node 22; a
// `vm.Script` does the same on 20. A cache of another V8 is refused by V8 itself and written anew at exit.
"use strict"
const fs = require("node:fs")
const path = require("node:path")
const vm = require("node:vm")
const Module = require("node:module")

const chunks = path.join(__dirname, "chunks")
const caches = path.join(__dirname, "cache", `${process.versions.v8}-${process.arch}`)
const outer = Module.createRequire(path.join(chunks, "chunk.cjs"))
const importModuleDynamically = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER
const loaded = new Map()
const fresh = []

const readIfThere = (file) => {
  try {
    return fs.readFileSync(file)
  } catch {
    return undefined
  }
}

const load = (file) => {
  const known = loaded.get(file)
  if (known !== undefined) return known.exports
  const module = { exports: {} }
  loaded.set(file, module)
  const filename = path.join(chunks, file)
  if (importModuleDynamically === undefined) return outer(filename) // Node before 20.12
  const cacheFile = path.join(caches, file)
  const cachedData = readIfThere(cacheFile)
  const source = fs.readFileSync(filename, "utf8")
  const script = new vm.Script(Module.wrap(source), { filename, cachedData, importModuleDynamically })
  if (cachedData === undefined || script.cachedDataRejected) fresh.push([cacheFile, script])
  const require_ = (id) => (id.startsWith("./") ? load(path.basename(id)) : outer(id))
  script.runInThisContext().call(module.exports, module.exports, require_, module, filename, chunks)
  return module.exports
}

// At exit the functions that this run needed are compiled, so they go into the cache too.
process.on("exit", () => {
  for (const [cacheFile, script] of fresh) {
    try {
      fs.mkdirSync(caches, { recursive: true })
      const temporary = `${cacheFile}.${process.pid}.${Math.random().toString(36).slice(2)}`
      fs.writeFileSync(temporary, script.createCachedData(), { flag: "wx" })
      fs.renameSync(temporary, cacheFile)
    } catch {
      // a folder that is not ours to write: start-up stays as it is
    }
  }
})

// Paths mean nothing where the working directory was removed; help and the version need none.
try {
  process.cwd()
} catch {
  if (!process.argv.slice(2).some((word) => /^(-h|--help|--version)$/.test(word))) {
    console.error("aio: the working directory was removed or may not be read; change to one that is there")
    process.exit(2)
  }
  process.chdir("/")
}
load("main.cjs")
