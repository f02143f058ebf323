/** A concept of the guide: an example, a program and a subcommand. */
export interface Concept {
  /** The subcommand of `aio`, the page in docs/ and the file in src/commands. */
  readonly name: string
  /** The module in src/programs. */
  readonly program: string
  /** The guide's heading. */
  readonly section: string
  /** The concept in asyncio. */
  readonly asyncio: string
  /** The concept in Effect. */
  readonly effect: string
  /** What the subcommand is for, in one line: the description in `aio --help`. */
  readonly summary: string
  /** The first command of a newcomer, without `aio`. */
  readonly first: string
  /**
   * The output on stdout of the subcommand without arguments, or with {@link exampleArgs}. TIME is a placeholder for a
   * measured duration.
   */
  readonly example: ReadonlyArray<string>
  /** Arguments that make the output the same every time: a seed, virtual time. */
  readonly exampleArgs?: ReadonlyArray<string>
}

/** Every concept, in the guide's order. */
export const concepts = [
  {
    name: "run",
    program: "Run",
    section: "Basics",
    asyncio: "asyncio.run",
    effect: "runMain, Scope",
    summary: "run the guide's hello, or an Effect program from a file",
    first: "run hello.ts",
    example: ["hi"]
  },
  {
    name: "tasks",
    program: "Tasks",
    section: "Basics(2)",
    asyncio: "asyncio.create_task",
    effect: "fibers in a scope",
    summary: "run named commands as one group: fail one, cancel all",
    first: "tasks web='npm start' test='npm test'",
    example: ["hi 2", "hi 1"]
  },
  {
    name: "long-running",
    program: "LongRunning",
    section: "Long running tasks",
    asyncio: "Task.cancel",
    effect: "supervised fibers",
    summary: "keep named commands running: restart, readiness, health, logs",
    first: "long-running web='node server.js'",
    example: [
      "task running now...",
      "Hello 2",
      "Hello 2",
      "Hello 0",
      "Hello 2",
      "Hello 3",
      "we waited 10 seconds",
      "task cancelled"
    ],
    exampleArgs: ["--virtual", "--seed", "1"]
  },
  {
    name: "await",
    program: "Await",
    section: "ALL YOUR ASYNC BELONGS TO US",
    asyncio: "never awaited",
    effect: "effects are values",
    summary: "find effects and promises that are built and never run",
    first: "await src/*.ts",
    example: ["foobar1"]
  },
  {
    name: "gather",
    program: "Gather",
    section: '"multi" processing',
    asyncio: "asyncio.gather",
    effect: "Effect.all",
    summary: "download many URLs at once, safely and resumably",
    first: "gather -d files https://example.org/a.zip",
    example: [
      "Downloaded https://www.google.com, size 16384",
      "Downloaded https://www.facebook.com, size 32768",
      "Downloaded https://www.twitter.com, size 8192",
      "Downloaded https://www.stackoverflow.com, size 65536"
    ]
  },
  {
    name: "loop",
    program: "Loops",
    section: "asyncio loops",
    asyncio: "async for",
    effect: "Stream",
    summary: "map a function over a stream of lines or JSON, with bounded concurrency",
    first: "loop upper.ts < lines.txt",
    example: [0, 1, 2, 3, 4].flatMap((i) => [`Before yield ${i}`, `Yay, I've been yield'd ${i}`])
  },
  {
    name: "schedule",
    program: "Scheduling",
    section: "Scheduling",
    asyncio: "loop.call_later, loop.call_at",
    effect: "Schedule, one timer heap",
    summary: "run commands later, at a time, every interval or by cron, or print the next times",
    first: "schedule later 10m -- echo tea",
    example: ["call_soon   at 0.0 s", "call_at     at 0.2 s", "call_later  at 0.4 s"],
    exampleArgs: ["--virtual"]
  },
  {
    name: "executor",
    program: "Executors",
    section: "Executors",
    asyncio: "loop.run_in_executor",
    effect: "blocking work on worker threads",
    summary: "map a blocking or CPU-bound function over items on worker threads",
    first: "executor thumb.ts#make *.png",
    example: [
      "foobar",
      "Downloaded https://www.google.com, size 16384",
      "Downloaded https://www.facebook.com, size 32768",
      "Downloaded https://www.twitter.com, size 8192",
      "Downloaded https://www.stackoverflow.com, size 65536"
    ]
  },
  {
    name: "subprocess",
    program: "Subprocess",
    section: "Subprocess",
    asyncio: "create_subprocess_exec",
    effect: "Command",
    summary: "run a command for each item, many at once, whole process trees under control",
    first: "subprocess gzip -k {} ::: *.log",
    example: ["Executing: sleep 1", "Executing: echo hello", "hello", "", ""]
  },
  {
    name: "server",
    program: "Server",
    section: "Explanation",
    asyncio: "event loop, threads",
    effect: "fiber per request",
    summary: "serve an app, files or a demo under three models, and measure them",
    first: "server --dir .",
    example: [
      "1 request that waits 200 ms: answered after TIME",
      "1000 requests that wait 200 ms each: all answered after TIME (one after another: 3 m 20 s)",
      "10 requests with nothing to wait for: each answered within TIME",
      "the same 10 while one handler blocks for 300 ms: none answered before TIME",
      "waiting costs the loop nothing, blocking stops it for all requests: blocking work belongs on a thread (aio executor)"
    ],
    exampleArgs: ["--explain"]
  },
  {
    name: "network",
    program: "Network",
    section: "Where is network traffic used?",
    asyncio: "every client async",
    effect: "services and layers",
    summary: "ask database, cache, OAuth, storage and two APIs at once, and show one page",
    first: "network",
    example: [
      "database  TIME  3 orders",
      "cache     TIME  41 visits",
      "oauth     TIME  aio, may read and write",
      "storage   TIME  2 files, 50 KiB",
      "drive     TIME  4 documents",
      "chat      TIME  2 messages unread",
      "total     TIME  one after another TIME"
    ],
    exampleArgs: ["--timeout", "30s"]
  }
] as const satisfies ReadonlyArray<Concept>

/** The name of a concept, which is its subcommand. */
export type Name = (typeof concepts)[number]["name"]
