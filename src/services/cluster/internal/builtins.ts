// Jobs that a runner has beside those of its code folder, where its owner has allowed them. A run names one by a module of
// this prefix, which no file has, and by the version of its requests and results.

const prefix = "aio:"

/** The name in a run, and what a runner without the job answers. */
export const commands = {
  module: `${prefix}command`,
  title: "commands",
  version: "1",
  without: "it runs no command lines; start it with aio runner --commands to allow them"
} as const

export const downloads = {
  module: `${prefix}download`,
  title: "downloads",
  version: "1",
  without: "it saves no downloads; start it with aio runner --downloads DIR to allow them"
} as const

const known = [commands, downloads]

interface Named {
  readonly module: string
  readonly version: string
}

/** How a runner's row lists the job. */
export const offerOf = ({ module, version }: Named): string => `${module} ${version}`

/** What a runner's row lists, for people. */
export const titles = (offers: string | null): ReadonlyArray<string> => {
  const listed = offers === null ? [] : (JSON.parse(offers) as ReadonlyArray<string>)
  return known.flatMap(({ module, title }) =>
    listed.some((offer) => offer.startsWith(`${module} `)) ? [title] : []
  )
}

export const isBuiltin = (module: string): boolean => module.startsWith(prefix)

/** The job of this name and version; a text is why the runner has none. */
export const find = <A extends Named>(builtins: ReadonlyArray<A>, { module, version }: Named): A | string => {
  const found = builtins.find((one) => one.module === module)
  if (found === undefined) return known.find((one) => one.module === module)?.without ?? `it has no ${module}`
  return found.version === version
    ? found
    : `it has version ${found.version} of ${module}, and the job asks for ${version}; use the same aio on both`
}
