import type * as Cli from "./Cli.js"

export const shells = ["bash", "zsh", "fish"] as const
export type Shell = (typeof shells)[number]
export const isShell = (text: string): text is Shell => shells.some((shell) => shell === text)

export const make = (_shell: Shell, _name: string, _commands: ReadonlyArray<Cli.Command<never>>): string => ""
