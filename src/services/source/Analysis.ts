// The input and the result of an analysis.

/**
 * The input: a project, files under the settings of that project, or files under the nearest tsconfig.json.
 *
 * @since 0.1.0
 * @category models
 */
export interface Target {
  readonly files: ReadonlyArray<string>
  /** The path of a tsconfig.json. */
  readonly project?: string | undefined
}

/**
 * The rules: those of the Effect diagnostics by their own names, and this package's own.
 *
 * @since 0.1.0
 * @category constants
 */
export const rules = [
  "floatingEffect",
  "floatingEffectInVitest",
  "missingStarInYieldEffectGen",
  "returnEffectInGen",
  "effectInVoidSuccess",
  "effectInFailure",
  "promiseInEffectSuccess",
  "lazyPromiseInEffectSync",
  "effectInVoidCallback",
  "effectInEffect",
  "effectInPromise",
  "floatingStream",
  "floatingLayer",
  "floatingPromise",
  "floatingGenerator"
] as const

/**
 * A rule of {@link rules}.
 *
 * @since 0.1.0
 * @category models
 */
export type Rule = (typeof rules)[number]

/**
 * A place where an effect, a promise or a generator is built and dropped. Lines and columns count from 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Problem {
  /** An absolute path. */
  readonly file: string
  readonly line: number
  readonly column: number
  readonly rule: Rule
  /** The source text, on one line of at most 60 characters. */
  readonly code: string
}

/**
 * An import that cannot be resolved: its values are not checked.
 *
 * @since 0.1.0
 * @category models
 */
export interface Unresolved {
  readonly file: string
  readonly specifier: string
}

/**
 * A place in source code. The line counts from 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  readonly file: string
  readonly line: number
}

/**
 * The files that were analysed and the problems in them, by file and place.
 *
 * @since 0.1.0
 * @category models
 */
export interface Analysis {
  readonly files: ReadonlyArray<string>
  readonly problems: ReadonlyArray<Problem>
  readonly unresolved: ReadonlyArray<Unresolved>
  /** Expressions for which TypeScript gives no type: effects there are not checked. */
  readonly unjudged: ReadonlyArray<Place>
}
