import { Effect, Either } from "effect"
import type { UsageError } from "../../services/host/ExitCodes.js"
import type * as Procfile from "../../services/supervision/Procfile.js"
import * as Argv from "../kernel/Argv.js"
import { usage } from "../kernel/Command.js"
import * as Flag from "../kernel/Flag.js"
import { flags } from "./flags.js"

// `# aio: --ready-port 7001 --after db` above a line of a Procfile: the options of its command, without its name.

const { after, healthExec, healthHttp, healthPort, readyExec, readyHttp, readyLog, readyPort } = flags
const own = {
  ...{ after, healthExec, healthHttp, healthPort, readyExec, readyHttp, readyLog, readyPort },
  restart: flags.restart,
  scale: flags.scale,
  stopSignal: flags.stopSignal,
  watch: flags.watch,
  workdir: flags.workdir
}

/** The value as the command line has it: `7001` is `db:7001`, a scale of `2` is `db=2`. */
const named = (name: string, option: string, value: string): string =>
  option === flags.scale.name ? `${name}=${value}` : `${name}:${value}`

const optionsOf = ({ name, options }: Procfile.Entry) =>
  Effect.gen(function* () {
    const { where, words } = options!
    const sorted = yield* Effect.try({
      try: () => Argv.sort([where], { name: where, flags: own, operands: "mixed", children: [] }, words, {}),
      catch: (error) => usage((error as UsageError).message.replace(/ \(see .*\)$/, ""))
    })
    const [word] = [...sorted.operands, ...(sorted.rest ?? [])]
    if (word !== undefined || sorted.help) {
      return yield* usage(`${where}: '${word ?? "--help"}' is not an option; write # aio: --after db`)
    }
    const given: Record<string, Array<string>> = {}
    for (const [option, value] of sorted.options) {
      const flag = Object.values(own).find((flag) => flag.name === option)!
      if (option !== flags.scale.name) {
        yield* Either.mapLeft(flag.parse(value), (problem) =>
          usage(`${where}: option --${option}: ${problem}`)
        )
      }
      given[option] = [...(given[option] ?? []), named(name, option, value)]
    }
    return yield* Either.mapLeft(Flag.readAll(own, given), (problem) => usage(`${where}: ${problem}`))
  })

/** The values of the options, with those of the Procfile; of several for one command, that of the command line wins. */
export const merged = (config: Flag.Values<typeof flags>, entries: ReadonlyArray<Procfile.Entry>) =>
  Effect.gen(function* () {
    const all = yield* Effect.forEach(
      entries.filter(({ options }) => options !== undefined),
      optionsOf
    )
    const lists = Object.fromEntries(
      Object.keys(own)
        .filter((key) => key !== "scale")
        .map((key) => [key, [...all, config].flatMap((one) => one[key as "after"])])
    )
    const scale = new Map([...all, config].flatMap((one) => [...one.scale]))
    return { ...config, ...lists, scale }
  })
