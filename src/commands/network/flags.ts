import { Either } from "effect"
import { names, type PartName } from "../../programs/Network.js"
import type * as Neighbour from "../../services/network/Neighbour.js"
import * as Flag from "../kernel/Flag.js"
import * as Flags from "../kernel/Flags.js"
import * as Values from "../kernel/Values.js"

type Spoilt = readonly [name: PartName, fault: Neighbour.Fault]

const spoiling =
  (fault: (value: string | undefined) => Either.Either<Neighbour.Fault, string>): Flag.Parse<Spoilt> =>
  (text) => {
    const [name = "", ...rest] = text.split("=")
    return (names as ReadonlyArray<string>).includes(name)
      ? Either.map(fault(rest.length === 0 ? undefined : rest.join("=")), (fault) => [
          name as PartName,
          fault
        ])
      : Either.left(`'${name}' is not accepted; expected ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`)
  }

const lasting = (fault: (ms: number) => Neighbour.Fault) =>
  spoiling((value) =>
    value === undefined
      ? Either.left("no duration is given; expected one like database=300ms")
      : Either.map(Values.duration(value), fault)
  )

export const user = Flag.withDefault(
  Flag.value("user", {
    value: "NAME",
    text: "the user whose page is shown; the content of the embedded services is of ada",
    parse: Values.text("a name")
  }),
  "ada"
)

/** How neighbours are called. */
export const policy = {
  timeout: Flag.withDefault(
    Flag.withText(
      Flags.timeout,
      "time limit of each part, like 100ms; a part that exceeds it is unavailable"
    ),
    1000,
    "1s"
  ),
  retries: Flag.withText(
    Flags.retries(2),
    "further attempts after an error that may pass; the pause before them is FIRST (20ms) and doubles up to MAX (250ms)"
  ),
  bulkhead: Flag.withDefault(
    Flags.count(1)("bulkhead", "calls of each part that run at once; 100 more wait for their turn"),
    10
  ),
  jobs: Flag.withText(Flags.jobs, "parts of a page that are asked at once; 1 is one after the other", "all"),
  hedge: Flag.value("hedge", {
    value: "DURATION",
    text: "ask a second time beside the first after this time without an answer",
    parse: Values.duration
  }),
  slow: Flag.values("slow", {
    value: "PART=DURATION",
    text: "each answer of this part takes so much longer",
    words: names,
    parse: lasting((slow) => ({ slow }))
  }),
  block: Flag.values("block", {
    value: "PART=DURATION",
    text: "the client of this part blocks the thread for so long, and with it every other part and request",
    words: names,
    parse: lasting((block) => ({ block }))
  }),
  fail: Flag.values("fail", {
    value: "PART[=REASON]",
    text: "each call of this part fails",
    words: names,
    parse: spoiling((fail = "failed on request") => Either.right({ fail }))
  })
}

/** The policies of all neighbours, from the options. */
export const policies = (
  given: Flag.Values<typeof policy>
): { readonly policy: Neighbour.Policy; readonly policies: Readonly<Record<string, Neighbour.Policy>> } => {
  const faults = new Map<string, Neighbour.Fault>()
  for (const [name, fault] of [...given.slow, ...given.block, ...given.fail])
    faults.set(name, { ...faults.get(name), ...fault })
  const { backoff, retries } = given.retries
  return {
    policy: {
      deadline: given.timeout,
      retries,
      hedge: given.hedge,
      backoff,
      bulkhead: { concurrency: given.bulkhead }
    },
    policies: Object.fromEntries(Array.from(faults, ([name, fault]) => [name, { fault }]))
  }
}
