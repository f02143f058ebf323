import { spawn } from "node:child_process"
import { Effect } from "effect"
import { rules } from "../Analysis.js"
import type { AnalyserFailed } from "../DiagnosticsError.js"
import { type Analysers, failed, firstLine, killed } from "./analysers.js"

// The Effect diagnostics of @effect/tsgo, as a child process.

/** The report of `effect-tsgo diagnostics --format json --list-files`. */
export interface Report {
  readonly files: ReadonlyArray<{ readonly file: string }>
  readonly diagnostics: ReadonlyArray<{
    readonly file: string
    readonly start: number
    readonly length: number
    readonly line: number
    readonly column: number
    readonly name: string
    readonly message: string
  }>
}

// Settings on the command line need no plugin in the user's tsconfig, and apply to rules that it switches off; a comment
// in the source still switches a rule off.
const settings = JSON.stringify({
  diagnosticSeverity: Object.fromEntries(rules.map((rule) => [rule, "error"]))
})

/** Runs the Effect diagnostics over a project. Interruption kills them. */
export const runEffectDiagnostics = (
  analysers: Analysers,
  config: string
): Effect.Effect<Report, AnalyserFailed> =>
  Effect.async((resume) => {
    const words = ["--project", config, "--format", "json", "--list-files", "--lspconfig", settings]
    const child = spawn(process.execPath, [analysers.tsgo, "diagnostics", ...words], {
      cwd: analysers.home,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true // a script that waits for a program of its own: both are killed as a group
    })
    const output = { stdout: "", stderr: "" }
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output.stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output.stderr += text
    })
    const fail = failed("effect-tsgo diagnostics")
    child.once("error", (error) => resume(fail(error)))
    child.once("close", () => {
      try {
        const report: Report = JSON.parse(output.stdout)
        resume(report.files ? Effect.succeed(report) : fail("its report lists no files"))
      } catch {
        resume(fail(firstLine(output.stderr || output.stdout)))
      }
    })
    return killed(child)
  })
