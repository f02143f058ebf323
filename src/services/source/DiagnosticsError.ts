import { Data } from "effect"

/**
 * A package that the analysis needs is installed neither for the analysed code nor for this package.
 *
 * @since 0.1.0
 * @category errors
 */
export class AnalyserMissing extends Data.TaggedError("AnalyserMissing")<{
  readonly packages: ReadonlyArray<string>
}> {
  override get message() {
    return `the Effect diagnostics are not installed: npm install --save-dev ${this.packages.join(" ")}`
  }
}

/**
 * The file or project cannot be analysed.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidTarget extends Data.TaggedError("InvalidTarget")<{
  readonly path: string
  readonly problem: string
}> {
  override get message() {
    return `${this.path}: ${this.problem}`
  }
}

/**
 * `effect`, or a package built on it, is imported but not installed: its effects would pass as values of any type.
 *
 * @since 0.1.0
 * @category errors
 */
export class EffectMissing extends Data.TaggedError("EffectMissing")<{
  readonly file: string
  readonly specifier: string
  /** Its problem: `is not installed in DIR`. */
  readonly problem: string
}> {
  override get message() {
    return `${this.specifier}, which ${this.file} imports, ${this.problem}; effects cannot be checked`
  }
}

/**
 * An analyser crashed, or left files out.
 *
 * @since 0.1.0
 * @category errors
 */
export class AnalyserFailed extends Data.TaggedError("AnalyserFailed")<{
  readonly analyser: string
  readonly problem: string
}> {
  override get message() {
    return `${this.analyser} failed: ${this.problem}`
  }
}

/**
 * How an analysis fails.
 *
 * @since 0.1.0
 * @category errors
 */
export type DiagnosticsError = AnalyserMissing | InvalidTarget | EffectMissing | AnalyserFailed
