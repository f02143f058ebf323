declare module "virtual:guide" {
  /** Made by scripts/guide.mjs at build time. */
  export const pages: Readonly<
    Record<
      string,
      {
        readonly intro: string
        readonly python: string
        readonly effect: string
        /** Lines of the program's source, by the function that is called there. */
        readonly calls: Readonly<Record<string, number>>
        readonly differences: ReadonlyArray<string>
      }
    >
  >
}
