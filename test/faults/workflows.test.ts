import { join } from "node:path"
import { workflowDeaths, workflowKills } from "../services/cluster/workflowKills.js"

let files = 0
const store = (folder: string) => join(folder, `${++files}.sqlite`)
workflowKills("workflows in an SQLite file", store)
workflowDeaths("workflows in an SQLite file", store)
