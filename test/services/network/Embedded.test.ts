import { Effect, Layer } from "effect"
import * as Api from "../../../src/services/network/Api.js"
import * as Cache from "../../../src/services/network/Cache.js"
import * as Database from "../../../src/services/network/Database.js"
import * as OAuth from "../../../src/services/network/OAuth.js"
import * as Storage from "../../../src/services/network/Storage.js"
import * as contract from "../../network/contract.js"

contract.databaseContract("Database, SQLite", Database.layerEmbedded)
contract.cacheContract("Cache, in memory", Cache.layerEmbedded)
contract.oauthContract("OAuth, an issuer in this process", OAuth.layerEmbedded)
contract.oauthContract(
  "OAuth, an issuer in this process with RS256",
  Layer.scoped(OAuth.OAuth, Effect.flatMap(OAuth.makeIssuer({ algorithm: "RS256" }), OAuth.make))
)
contract.storageContract("Storage, a folder", Storage.layerEmbedded)
contract.apiContract(
  "Api, in this process",
  Api.layerEmbedded((path) => (path === "/" ? {} : path === "/notes" ? [{ title: "é" }] : undefined))
)
