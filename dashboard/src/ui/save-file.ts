/** Hands the reader a file that was made here. */
export function saveFile(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has taken the blob over by then.
  setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 10_000);
}
