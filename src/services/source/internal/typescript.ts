import type { ChildProcess } from "node:child_process"
import { pathToFileURL } from "node:url"
import type * as Ast from "typescript/unstable/ast"
import type * as Api from "typescript/unstable/async"
import { nativeImport } from "../NativeImport.js"
import { resolveFrom } from "./packages.js"

// The only file that uses unstable parts of TypeScript 7: its API under `unstable/`, and internals of that.
// test/services/source/internal/typescript.contract.test.ts states each assumption.

export type { Api, Ast }

/** The packages that may hold TypeScript 7; effect-tsgo looks for the same ones. */
const names = ["typescript", "@typescript/native"]

/** TypeScript 7 as it was found. */
export interface Found {
  readonly name: string
  /** The folder from which it was found. */
  readonly home: string
}

/** TypeScript 7 as seen from the first of these folders that sees it. */
export const find = (homes: ReadonlyArray<string>): Found | undefined =>
  homes
    .flatMap((home) => names.map((name) => ({ home, name })))
    .find(({ home, name }) => resolveFrom(home, `${name}/unstable/async`))

/** Its API. */
export const load = async ({
  home,
  name
}: Found): Promise<{ readonly api: typeof Api; readonly ast: typeof Ast }> => {
  const part = (path: string) => nativeImport(pathToFileURL(resolveFrom(home, `${name}/${path}`)!).href)
  return { api: await part("unstable/async"), ast: await part("unstable/ast") }
}

/** The process behind the API: `close` neither waits for it nor ends it while it computes. */
export const processOf = (api: Api.API): ChildProcess | undefined =>
  (api as unknown as { client?: { process?: ChildProcess } }).client?.process

/** Whether a question failed because TypeScript panicked over it (7.0 does over some tuples). */
export const isPanic = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith("panic:")

/** `TypeFlags.Void` and `TypeFlags.Undefined`. */
export const typeFlags = { void: 16, undefined: 4 } as const

/** `SignatureKind.Call`. */
export const callSignature = 0

/** Diagnostics of a tsconfig that names no files: harmless if files are named otherwise. */
export const noFiles: ReadonlySet<number> = new Set([18002, 18003])
