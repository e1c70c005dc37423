import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { KeyGate } from "./access/key-gate";
import { makeQueryClient } from "./api/queries";
import { App } from "./app";
import "./styles/index.css";

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={makeQueryClient()}>
        <KeyGate>
          <App />
        </KeyGate>
      </QueryClientProvider>
    </StrictMode>,
  );
}
