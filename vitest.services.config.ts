import { defineConfig } from "vitest/config"

// With a PostgreSQL, or a schema of it, of their own.
const apart = ["cluster", "schedules", "serve", "workflows"].map(
  (name) => `test/network/${name}.services.test.ts`
)

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: "apart", include: apart } },
      // What one of these writes, another one would read: they run one at a time.
      {
        extends: true,
        test: {
          name: "together",
          include: ["test/network/**/*.services.test.ts"],
          exclude: apart,
          poolOptions: { forks: { singleFork: true } }
        }
      }
    ],
    maxWorkers: 2,
    minWorkers: 1,
    testTimeout: 30_000,
    hookTimeout: 30_000
  }
})
