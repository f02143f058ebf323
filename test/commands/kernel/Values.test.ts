import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import type { Parse } from "../../../src/commands/kernel/Flag.js"
import * as Values from "../../../src/commands/kernel/Values.js"

const MiB = 1024 ** 2

/** What is accepted, with its value; what is refused, with the sentence. */
const tables: ReadonlyArray<
  readonly [
    name: string,
    parse: Parse<unknown>,
    good: ReadonlyArray<readonly [text: string, value: unknown]>,
    bad: ReadonlyArray<readonly [text: string, problem: string]>
  ]
> = [
  [
    "text",
    Values.text("a file"),
    [
      ["a", "a"],
      [" ", " "],
      ["-", "-"]
    ],
    [["", "'' is empty; expected a file"]]
  ],
  [
    "duration",
    Values.duration,
    [
      ["90", 90_000],
      ["0", 0],
      ["1h30m", 5_400_000],
      [" 250ms ", 250],
      [".5s", 500],
      ["2 days", 172_800_000],
      ["1W", 604_800_000]
    ],
    [
      ["", "a duration is empty; write one like 90s or 1h30m"],
      ["soon", "'soon' in duration 'soon' is not a number; write one like 90s or 1h30m"],
      ["-5s", "'-5s' in duration '-5s' is negative; write one like 90s or 1h30m"],
      ["1h30", "'30' at character 3 in duration '1h30' has no unit; use ms, s, m, h, d or w"],
      ["1h5x", "unit 'x' at character 3 in duration '1h5x' is unknown; use ms, s, m, h, d or w"],
      ["2 months", "unit 'months' in duration '2 months' has no fixed length; use ms, s, m, h, d or w"],
      ["1m1m", "unit 'm' at character 3 in duration '1m1m' occurs twice; add them up"],
      ["1,5s", "'1,5' in duration '1,5s' has a comma; write 1.5"],
      ["999999999w", "duration '999999999w' is too long; the longest is 104249991 days"]
    ]
  ],
  [
    "span",
    Values.span,
    [
      ["1", 1000],
      ["1ms", 1]
    ],
    [
      ["0", "'0' is out of range; expected a duration above 0, like 90s or 1h30m"],
      ["0ms", "'0ms' is out of range; expected a duration above 0, like 90s or 1h30m"],
      ["x", "'x' in duration 'x' is not a number; write one like 90s or 1h30m"]
    ]
  ],
  [
    "size",
    Values.size(4 * MiB),
    [
      ["4M", 4 * MiB],
      ["64MiB", 64 * MiB],
      ["10MB", 10_000_000],
      ["4194304", 4 * MiB],
      ["1.5g", 1.5 * 1024 * MiB]
    ],
    [
      ["64", "'64' is 64 bytes; expected 4 MiB or more, like 64M"],
      ["1M", "'1M' is 1 MiB; expected 4 MiB or more"],
      ["0", "'0' is 0 bytes; expected 4 MiB or more"],
      ["much", "'much' is not a size; expected bytes, or a size like 500K, 2M or 1G"],
      ["-1", "'-1' is not a size; expected bytes, or a size like 500K, 2M or 1G"],
      ["9000T", "size '9000T' is too large; the largest is 8191 TiB"]
    ]
  ],
  [
    "integer",
    Values.integer(1, 10),
    [
      ["1", 1],
      ["10", 10],
      [" 7 ", 7],
      ["007", 7]
    ],
    [
      ["0", "'0': expected a whole number, 1 to 10"],
      ["11", "'11': expected a whole number, 1 to 10"],
      ["1.5", "'1.5': expected a whole number, 1 to 10"],
      ["1e1", "'1e1': expected a whole number, 1 to 10"],
      ["", "'': expected a whole number, 1 to 10"],
      ["NaN", "'NaN': expected a whole number, 1 to 10"]
    ]
  ],
  [
    "integer without an upper bound",
    Values.integer(0),
    [
      ["0", 0],
      ["9007199254740991", Number.MAX_SAFE_INTEGER]
    ],
    [
      ["9007199254740993", "'9007199254740993': expected a whole number, 0 or more"],
      ["-1", "'-1': expected a whole number, 0 or more"]
    ]
  ],
  [
    "signal",
    Values.signal,
    [
      ["INT", "SIGINT"],
      ["sigterm", "SIGTERM"],
      [" quit ", "SIGQUIT"]
    ],
    [
      ["", "'' is not a signal; expected one like INT, TERM or QUIT"],
      ["9", "'9' is not a signal; expected one like INT, TERM or QUIT"],
      ["constructor", "'constructor' is not a signal; expected one like INT, TERM or QUIT"]
    ]
  ],
  [
    "url",
    Values.url,
    [
      ["http://a", "http://a"],
      ["https://a.example/b?c#d", "https://a.example/b?c#d"]
    ],
    [
      ["a.example", "'a.example' is not a URL; expected http or https, like http://localhost:8080/health"],
      ["ftp://a", "'ftp://a' is not a URL; expected http or https, like http://localhost:8080/health"],
      ["", "'' is not a URL; expected http or https, like http://localhost:8080/health"]
    ]
  ],
  [
    "port",
    Values.port(1),
    [
      ["1", 1],
      ["65535", 65_535]
    ],
    [
      ["0", "'0' is not a port; expected 1 to 65535"],
      ["65536", "'65536' is not a port; expected 1 to 65535"],
      ["http", "'http' is not a port; expected 1 to 65535"]
    ]
  ],
  ["port or any", Values.port(0), [["0", 0]], [["-1", "'-1' is not a port; expected 0 to 65535"]]],
  [
    "jobs",
    Values.jobs,
    [
      ["8", { of: "number", n: 8 }],
      ["50%", { of: "percent", n: 50 }],
      ["+2", { of: "more", n: 2 }],
      ["+0", { of: "more", n: 0 }]
    ],
    [
      ["0", "'0' is out of range; expected 1 or more"],
      ["0%", "'0%' is out of range; expected 1 or more"],
      ["100001", "'100001' is out of range; expected at most 100000"],
      ["+2%", "'+2%' is not a number of jobs; expected 8, 50% (of the processors) or +2 (more than these)"],
      ["-1", "'-1' is not a number of jobs; expected 8, 50% (of the processors) or +2 (more than these)"]
    ]
  ],
  [
    "retries",
    Values.retries,
    [
      ["0", { retries: 0, backoff: {} }],
      ["5,1s", { retries: 5, backoff: { first: 1000 } }],
      ["5,0,10", { retries: 5, backoff: { first: 0, max: 10_000 } }]
    ],
    [
      ["", "'': expected a whole number, 0 or more"],
      ["-1", "'-1': expected a whole number, 0 or more"],
      ["5,soon", "'soon' in duration 'soon' is not a number; write one like 90s or 1h30m"],
      ["5,1s,0", "'0' is out of range; expected a duration above 0, like 90s or 1h30m"],
      ["5,1,2,3", "'5,1,2,3' has too many parts; expected N[,FIRST[,MAX]], like 5,1s,1m"]
    ]
  ],
  [
    "rate",
    Values.rate,
    [
      ["10", { limit: 10, interval: 1000 }],
      ["10/s", { limit: 10, interval: 1000 }],
      ["5/10s", { limit: 5, interval: 10_000 }],
      ["0.5/m", { limit: 0.5, interval: 60_000 }]
    ],
    [
      ["0", "'0' is not a rate; expected one like 10/s, 100/m or 5/10s"],
      ["10/x", "'10/x' is not a rate; expected one like 10/s, 100/m or 5/10s"],
      ["10/0s", "'0s' is out of range; expected a duration above 0, like 90s or 1h30m"]
    ]
  ],
  [
    "percent",
    Values.percent(100),
    [
      ["5%", 0.05],
      ["100%", 1],
      ["0.5%", 0.005]
    ],
    [
      ["0%", "'0%' is not a percentage; expected one above 0%, at most 100%"],
      ["101%", "'101%' is not a percentage; expected one above 0%, at most 100%"],
      ["5", "'5' is not a percentage; expected one above 0%, at most 100%"]
    ]
  ],
  [
    "percent without a bound",
    Values.percent(Infinity),
    [["300%", 3]],
    [["x", "'x' is not a percentage; expected one above 0%"]]
  ]
]

describe.each(tables)("Values.%s", (_, parse, good, bad) => {
  it.each(good)("accepts '%s'", (text, value) => {
    expect(parse(text)).toEqual(Either.right(value))
  })
  it.each(bad)("refuses '%s'", (text, problem) => {
    expect(parse(text)).toEqual(Either.left(problem))
  })
})

describe("Values.jobCount", () => {
  it.each([
    ["3", 4, 3],
    ["50%", 4, 2],
    ["1%", 4, 1],
    ["+2", 4, 6]
  ])("%s on %i processors is %i", (text, cpus, count) => {
    expect(Values.jobCount(Either.getOrThrow(Values.jobs(text)), cpus)).toBe(count)
  })
})
