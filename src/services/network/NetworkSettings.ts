import { Config, Data, Effect, Option, Redacted } from "effect"
import { codes } from "../host/ExitCodes.js"
import { missing } from "../host/OptionalPackage.js"

// Settings of the clients of this room, read through Effect's `Config`: from the environment, unless another provider is
// set. An empty value counts as none.

// errors

/**
 * A setting is missing or malformed. The message does not show a value that may be a secret.
 *
 * @since 0.1.0
 * @category errors
 */
export class SettingError extends Data.TaggedError("SettingError")<{
  readonly setting: string
  /** What is wrong, and what is accepted. */
  readonly problem: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return `${this.setting}: ${this.problem}`
  }
}

/**
 * A client needs an optional package that is not installed.
 *
 * @since 0.1.0
 * @category errors
 */
export class MissingPackage extends Data.TaggedError("MissingPackage")<{
  readonly package: string
  /** What needs it: `REDIS_URL`. */
  readonly user: string
}> {
  readonly exitCode = codes.usage
  override get message() {
    return missing(this.user, this.package)
  }
}

// settings

/**
 * The value of a setting; `None` if it is unset or empty.
 *
 * @since 0.1.0
 * @category constructors
 */
export const secret = (setting: string): Effect.Effect<Option.Option<Redacted.Redacted>, SettingError> =>
  Effect.map(
    Effect.mapError(
      Config.option(Config.redacted(setting)),
      () => new SettingError({ setting, problem: "cannot be read" })
    ),
    Option.filter((value) => Redacted.value(value) !== "")
  )

/**
 * {@link secret} of a setting that is no secret.
 *
 * @since 0.1.0
 * @category constructors
 */
export const text = (setting: string): Effect.Effect<Option.Option<string>, SettingError> =>
  Effect.map(secret(setting), Option.map(Redacted.value))

/**
 * A setting without which the client cannot work; `because` says which other setting asks for it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const required = (setting: string, because: string): Effect.Effect<Redacted.Redacted, SettingError> =>
  Effect.flatMap(
    secret(setting),
    Option.match({
      onNone: () => new SettingError({ setting, problem: `is not set; ${because} needs it` }),
      onSome: Effect.succeed
    })
  )

/**
 * A setting that is a URL with one of the schemes (`["redis:", "rediss:"]`); `None` if it is unset. `expected` is an example.
 *
 * @since 0.1.0
 * @category constructors
 */
export const url = (
  setting: string,
  schemes: ReadonlyArray<string>,
  expected: string
): Effect.Effect<Option.Option<Redacted.Redacted<URL>>, SettingError> =>
  Effect.flatMap(secret(setting), (value) => {
    if (Option.isNone(value)) return Effect.succeedNone
    const text = Redacted.value(value.value)
    const parsed = URL.canParse(text) ? new URL(text) : undefined
    return parsed !== undefined && schemes.includes(parsed.protocol)
      ? Effect.succeedSome(Redacted.make(parsed))
      : new SettingError({ setting, problem: `is not a URL like ${expected}` })
  })

/**
 * The URL for people: without its password, query and fragment, which may be secrets.
 *
 * @since 0.1.0
 * @category formatting
 */
export const shown = (url: Redacted.Redacted<URL>): string => {
  const { host, pathname, protocol, username } = Redacted.value(url)
  return `${protocol}//${username === "" ? "" : `${username}@`}${host}${pathname}`
}

// packages

/**
 * Imports an optional package, when it is first needed. A package that the built command does not contain is imported by
 * `nativeImport`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const load = <A>(
  name: string,
  user: string,
  imported: () => Promise<A>
): Effect.Effect<A, MissingPackage> =>
  Effect.catchAll(Effect.tryPromise(imported), ({ error }) => {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") return Effect.die(error)
    const found = /Cannot find (?:module|package) '(@[^/']+\/[^/']+|[^/'.][^/']*)/.exec(message)
    return new MissingPackage({ package: found?.[1] ?? name, user })
  })
