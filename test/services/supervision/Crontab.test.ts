import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Either, Layer } from "effect"
import * as CommandText from "../../../src/services/process/CommandText.js"
import * as ProcessesTest from "../../../src/services/process/ProcessesTest.js"
import * as Crontab from "../../../src/services/supervision/Crontab.js"
import * as ScheduledRuns from "../../../src/services/supervision/ScheduledRuns.js"
import * as Timers from "../../../src/services/time/Timers.js"
import * as VirtualClock from "../../../src/services/time/VirtualClock.js"

const read = (text: string) => Crontab.read({ path: "tab", text })
const jobs = (text: string) => Either.getOrThrowWith(read(text), ({ message }) => new Error(message))
const environmentOf = (job: ScheduledRuns.ScheduledCommand) =>
  job.command._tag === "StandardCommand" ? Object.fromEntries(job.command.env) : {}

describe("Crontab", () => {
  it("reads jobs with the variables and the zone that are set above them", () => {
    const found = jobs(`
# a comment
30 2 * * *\trestic backup /home
PATH = /usr/bin
NAME="two words"
CRON_TZ=Europe/Berlin
@daily  echo $NAME
MAILTO=""
  */5 9-17 * * MON-FRI cd /srv && ./poll --n=1
@reboot echo up\r
`)
    assert.deepStrictEqual(
      found.map(({ name, when, zone }) => [
        name,
        when._tag === "Cron" ? (when.cron as { text?: string }).text : when._tag,
        zone && DateTime.zoneToString(zone)
      ]),
      [
        ["restic backup /home", "30 2 * * *", undefined],
        ["echo $NAME", "@daily", "Europe/Berlin"],
        ["cd /srv && ./poll --n=1", "*/5 9-17 * * MON-FRI", "Europe/Berlin"],
        ["echo up", "Later", "Europe/Berlin"]
      ]
    )
    assert.deepStrictEqual(environmentOf(found[0]!), {})
    assert.deepStrictEqual(environmentOf(found[1]!), { PATH: "/usr/bin", NAME: "two words" })
  })

  it("takes a command to the first bare %, and what is behind it for its standard input", () => {
    const [job] = jobs("0 0 * * * date +\\%F; cat%one%two \\% three")
    assert.strictEqual(job!.name, "date +%F; cat")
    assert.strictEqual(CommandText.commandText(job!.command), "date +%F; cat")
    const [other] = jobs("SHELL=/bin/bash\n0 0 * * * echo [[ ]]")
    assert.strictEqual(CommandText.programOf(other!.command), "/bin/bash")
  })

  it.each([
    ["a\n0 0 * * *", "tab, line 1: 'a' is not a job; write five fields or @daily, then the command"],
    ["\n0 0 * * * ", "tab, line 2: '0 0 * * *' is not a job"],
    ["61 0 * * * x", "tab, line 1: "],
    ["@fortnightly x", "tab, line 1: "],
    ["CRON_TZ=Mars/North", "tab, line 1: 'Mars/North' is not a time zone"],
    ["MAILTO=me@example.org", "tab, line 1: MAILTO is not supported; output goes to stdout"],
    ["0 0 * * * %x", "tab, line 1: the command is empty"]
  ])("refuses the line %j", (text, message) => {
    const problem = Either.match(read(text), { onLeft: ({ message }) => message, onRight: () => "none" })
    assert.isTrue(problem.startsWith(message), problem)
    assert.notInclude(problem, "\n")
  })

  it.live("runs each job by its own times, with one summary", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const run = ScheduledRuns.runAll(jobs("0 * * * * hourly\n30 1 * * * nightly\n@reboot once"), {
        zone: DateTime.zoneMakeOffset(0),
        times: 2,
        retries: 1,
        backoff: { first: "1 second", jitter: 0 },
        handle: (event) =>
          Effect.sync(() => {
            if (event.event === "started" || event.event === "retrying")
              seen.push(`${event.name} ${event.event} ${event.index}`)
            if (event.event === "summary")
              seen.push(`${event.succeeded} ok, ${event.failed} failed, ${event.exitCode}`)
          })
      })
      const processes = ProcessesTest.layerTest([
        { match: "/bin/sh -c hourly", stdout: "h" },
        { match: "/bin/sh -c nightly", exitCode: 3 },
        { match: "/bin/sh -c once" }
      ])
      yield* run.pipe(Effect.provide(Layer.merge(Timers.layer, processes)), VirtualClock.run({ start: 0 }))
      assert.deepStrictEqual(seen, [
        "once started 1",
        "hourly started 1",
        "nightly started 1",
        "nightly retrying 1",
        "hourly started 2",
        "nightly started 2",
        "nightly retrying 2",
        "3 ok, 2 failed, 1"
      ])
    })
  )
})
