import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { plugin } from "./scripts/guide.mjs"

export default defineConfig({
  // What the guide's pages are made of, as in the bundle.
  plugins: [plugin(fileURLToPath(new URL(".", import.meta.url)))],
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    slowTestThreshold: 250,
    // Vitest's default is one worker less than there are processors; most of the time here is spent waiting.
    maxWorkers: "100%",
    minWorkers: 1
  }
})
