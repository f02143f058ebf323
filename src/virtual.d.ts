declare module "virtual:guide" {
  /** Made by scripts/guide.mjs at build time. */
  export const pages: Readonly<
    Record<
      string,
      {
        readonly intro: string
        readonly python: string
        readonly effect: string
        readonly differences: ReadonlyArray<string>
      }
    >
  >
}
