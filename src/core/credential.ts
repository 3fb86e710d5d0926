import type { Redacted } from './redacted.js'

/** What a registry is logged in to with. The username is shown to operators (`explain`), the password never. */
export type Credential = { readonly username: string; readonly password: Redacted<string> }

/**
 * The registries of a source, by canonical name (`registry.example.com:5000`, `acme.jfrog.io/team-a`, or `https://index.docker.io/v1/` for Docker
 * Hub): what the user meant, before it is shaped for the ECS agent.
 */
export type Registries = ReadonlyMap<string, Credential>

/** The map of `ECS_ENGINE_AUTH_DATA`, by the key the ECS agent reads: what `dockercfg.ts` renders. */
export type Dockercfg = ReadonlyMap<string, Credential>

/** Something an operator should know that did not stop the work. */
export type Warning = { readonly code: `W_${string}`; readonly message: string }
