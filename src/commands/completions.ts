import { Effect } from "effect"
import * as Output from "../services/host/Output.js"
import * as Cli from "./kernel/Cli.js"
import * as Command from "./kernel/Command.js"
import * as Completions from "./kernel/Completions.js"

export const command = Command.make(
  "completions",
  {
    summary: "print the completions of a shell, to be sourced from its start-up file",
    usage: ["SHELL"],
    operands: "mixed",
    arguments: [["SHELL", "bash, zsh or fish", Completions.shells]],
    flags: {},
    examples: [
      ["completions bash", "for ~/.bashrc: source <(aio completions bash)"],
      ["completions zsh", "for ~/.zshrc, behind compinit: source <(aio completions zsh)"],
      ["completions fish", "for config.fish: aio completions fish | source"]
    ]
  },
  (_, words) =>
    Effect.gen(function* () {
      const [shell, extra] = Command.everyWord(words)
      if (shell === undefined || extra !== undefined || !Completions.isShell(shell)) {
        return yield* Command.usage(
          `${shell === undefined ? "no shell is given" : `unexpected '${extra ?? shell}'`}; expected ${Completions.shells.join(", ")}`
        )
      }
      const self = yield* Cli.Self
      yield* Output.print(Completions.make(shell, "aio", yield* self.commands))
    })
)
