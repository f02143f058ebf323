/** A concept of the guide: an example, a program and a subcommand. */
export interface Concept {
  /** The subcommand of `aio`, the page in docs/ and the file in src/commands. */
  readonly name: string
  /** The module in src/programs. */
  readonly program: string
  /** The guide's heading. */
  readonly section: string
  /** What asyncio calls it. */
  readonly asyncio: string
  /** What Effect calls it. */
  readonly effect: string
  /** The tool it is, in one line: the description in `aio --help`. */
  readonly summary: string
  /** What the subcommand prints on stdout when it is called without arguments. */
  readonly example: ReadonlyArray<string>
}

/** Every concept, in the guide's order. */
export const concepts = [
  {
    name: "run",
    program: "Run",
    section: "Basics",
    asyncio: "asyncio.run",
    effect: "runMain, Scope",
    summary: "run the guide's hello, or an Effect program from a file of yours",
    example: ["hi"]
  },
  {
    name: "tasks",
    program: "Tasks",
    section: "Basics(2)",
    asyncio: "asyncio.create_task",
    effect: "fibers in a scope",
    summary: "start tasks as one group and wait for them",
    example: ["hi 2", "hi 1"]
  },
  {
    name: "gather",
    program: "Gather",
    section: '"multi" processing',
    asyncio: "asyncio.gather",
    effect: "Effect.all",
    summary: "download many URLs at once, safely and resumably",
    example: [
      "Downloaded https://www.google.com, size 16384",
      "Downloaded https://www.facebook.com, size 32768",
      "Downloaded https://www.twitter.com, size 8192",
      "Downloaded https://www.stackoverflow.com, size 65536"
    ]
  }
] as const satisfies ReadonlyArray<Concept>

/** The name of a concept, which is its subcommand. */
export type Name = (typeof concepts)[number]["name"]
