import { Effect } from "effect"
import * as App from "./commands/App.js"
import * as Cli from "./commands/kernel/Cli.js"
import * as OwnProcess from "./commands/kernel/OwnProcess.js"
import * as Run from "./programs/Run.js"

Run.runMain(
  Cli.run(App.app, process.argv.slice(2), process.env).pipe(
    Effect.provide(App.layer),
    Effect.provideService(OwnProcess.OwnProcess, true)
  ),
  {
    ownProcess: true
  }
)
