// What library code leaves alone: the inside of Effect's fibers and data types, but for the one file that a contract test
// pins, and objects that are not ours to change (dependencies, globals, V8's flags), but for the files listed here, which
// do it in a process of our own or for a caller that sets an option.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** The one file that may name them. */
export const fiberRuntime = "services/task/internal/fiberRuntime.ts"

const privateNames =
  /\b(?:_fiberRefs|_children|_asyncBlockingOn|_asyncInterruptor|_observers|_queue|_exitValue|_stack|_op|effect_instruction_i\d|currentOpCount|currentRuntimeFlags|interruptAllChildren)\b|(?<!\bEffect)\.setFiberRefs\b|Symbol\.for\("effect\/[^"]*"\)|"effect\/FiberCurrent"|\bfrom "(?:effect|@effect\/[\w-]+)\/(?:src\/)?internal\/[^"]*"/g

/** Files that change what is not ours, and what. */
const mayPatch = {
  "services/host/HeapTuning.ts": /setFlagsFromString/,
  "services/task/Unobserved.ts": /Object\.assign\(Supervisor\.none/,
  "programs/Run.ts": /Object\.assign\(Logger\.defaultLogger/,
  "download/internal": /Object\.assign\(Base\.prototype/
}

const patches =
  /\bsetFlagsFromString\b|\bObject\.(?:assign|definePropert(?:y|ies))\(\s*(?:globalThis|global|process|console|[A-Z]\w*\.(?:prototype|none|default\w+))\b|\b(?:globalThis|global)(?:\.\w+|\[[^\]]+\])\s*=(?!=)|\b[A-Z]\w*\.prototype\.\w+\s*=(?!=)|\bprocess\.(?:emit|emitWarning|exit|on|stdout|stderr|stdin)\s*=(?!=)/g

// Without comments; line numbers stay.
const code = (text) =>
  text.replace(/\/\*[\s\S]*?\*\/|(?<![:"'`\w])\/\/.*/g, (comment) => comment.replace(/[^\n]/g, " "))

const found = (src, pattern, allowed, sentence) =>
  readdirSync(src, { recursive: true })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"))
    .toSorted()
    .flatMap((file) => {
      const text = code(readFileSync(join(src, file), "utf8"))
      return [...text.matchAll(pattern)]
        .filter(([what]) => !allowed(file, what))
        .map((match) => {
          const line = text.slice(0, match.index).split("\n").length
          return `src/${file}:${line} ${sentence(match[0].trim())}`
        })
    })

/** Where the folder's modules name the inside of Effect, a sentence each. */
export const privateNamesIn = (src) =>
  found(
    src,
    privateNames,
    (file) => file === fiberRuntime,
    (name) => `names '${name}', which is private to Effect; ask a function of src/${fiberRuntime}`
  )

/** Where the folder's modules change what is not ours, a sentence each. */
export const patchesIn = (src) =>
  found(
    src,
    patches,
    (file, what) => Object.entries(mayPatch).some(([path, is]) => file.includes(path) && is.test(what)),
    (what) => `changes what is not ours ('${what}'); scope it, or do it where the process is ours`
  )
