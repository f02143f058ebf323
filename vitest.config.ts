import { defineConfig } from "vitest/config"

export default defineConfig({
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
