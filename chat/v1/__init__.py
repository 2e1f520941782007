"""The API that other programs' clients already speak, under /v1/ and the addresses beside it.

It keeps nothing, no rows and no session, but for responses (`stored`, `kept_turn`). A body is read
(`bodies`, `fields`), becomes tokens (`prompts`) and requests to the engine (`running`), and what
the engine says becomes a reply as the client knows it, whole or as server-sent events (`replies`,
`sse`). docs/api.md is the contract.
"""
