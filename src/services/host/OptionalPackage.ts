// Packages that only a part of this one needs, and that an installation may leave out. Without `effect`, because worker
// threads use this too.

/** The message about a package that is not installed. */
export const missing = (user: string, name: string): string =>
  `${user} needs the package '${name}', which is not installed; npm install ${name}`

/** An optional package that is needed and not installed. */
export class PackageMissing extends Error {
  override readonly name = "PackageMissing"
  readonly exitCode = 2
  constructor(user: string, name: string) {
    super(missing(user, name))
  }
}

/** Imports what needs the package; rejects with {@link PackageMissing} if that is not installed. */
export const withPackage = async <A>(user: string, name: string, load: () => Promise<A>): Promise<A> => {
  try {
    return await load()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const absent = /^Cannot find (?:package|module) '([^']+)'/.exec(message ?? "")?.[1]
    if (!/^(ERR_)?MODULE_NOT_FOUND$/.test(code ?? "") || (absent !== name && !absent?.startsWith(`${name}/`)))
      throw error
    throw new PackageMissing(user, name)
  }
}
