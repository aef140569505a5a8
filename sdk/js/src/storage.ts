/** Where positions are kept over a reload, so that the page goes on where it was. What is kept is one short text. */
export interface PositionStorage {
  load(): string | null | undefined | Promise<string | null | undefined>;
  save(text: string): void;
}

/** Keeps positions in `sessionStorage`, a tab's own, or in another storage of the web. */
export function webStorage(key = "fanfare", area: Pick<Storage, "getItem" | "setItem"> = globalThis.sessionStorage): PositionStorage {
  return { load: () => area.getItem(key), save: (text) => area.setItem(key, text) };
}
