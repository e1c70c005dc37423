/** Icons on a 16-pixel grid, drawn in the colour of the text beside them. They never stand without words. */
import type { ReactNode, SVGProps } from "react";

function Icon({ children, ...rest }: SVGProps<SVGSVGElement> & { children: ReactNode }) {
  return (
    <svg
      className="icon"
      width="16"
      height="16"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      {...rest}
    >
      {children}
    </svg>
  );
}

export const CheckIcon = () => (
  <Icon>
    <path d="M3.5 8.5l3 3 6-7" />
  </Icon>
);
export const WarningIcon = () => (
  <Icon>
    <path d="M8 2.5l6 10.8H2z" />
    <path d="M8 6.6v3M8 11.4v.1" />
  </Icon>
);
export const CrossIcon = () => (
  <Icon>
    <path d="M4 4l8 8M12 4l-8 8" />
  </Icon>
);
export const InfoIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5.8" />
    <path d="M8 7.4v3.4M8 5.1v.1" />
  </Icon>
);
export const StopIcon = () => (
  <Icon>
    <path d="M5.4 2.2h5.2l3.2 3.2v5.2l-3.2 3.2H5.4l-3.2-3.2V5.4z" />
    <path d="M5.5 8h5" />
  </Icon>
);
export const OfflineIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5.8" />
    <path d="M4 12L12 4" />
  </Icon>
);
export const WaitingIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5.8" strokeDasharray="2.4 2.2" />
  </Icon>
);
export const ChartIcon = () => (
  <Icon>
    <path d="M2 11.5l3.6-4 2.8 2.4L14 4.2" />
    <path d="M10.6 4H14v3.4" />
  </Icon>
);
export const LedgerIcon = () => (
  <Icon>
    <rect x="3" y="2.2" width="10" height="11.6" rx="1.8" />
    <path d="M5.8 5.4h4.4M5.8 8h4.4M5.8 10.6h2.4" />
  </Icon>
);
export const SitesIcon = () => (
  <Icon>
    <path d="M3 13.5V4.2l5-1.7v11M8 6.5l5 1.5v5.5M1.8 13.5h12.4M5.4 6v.1M5.4 8.7v.1M10.5 10v.1" />
  </Icon>
);
export const ChevronIcon = () => (
  <Icon>
    <path d="M4.5 6.2L8 9.8l3.5-3.6" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <rect x="5.5" y="5.5" width="8" height="8" rx="2" />
    <path d="M10.5 5.5v-1a2 2 0 0 0-2-2h-4a2 2 0 0 0-2 2v4a2 2 0 0 0 2 2h1" />
  </Icon>
);
export const DownloadIcon = () => (
  <Icon>
    <path d="M8 2.5v7.6M4.8 7.2L8 10.4l3.2-3.2M3 13.3h10" />
  </Icon>
);
export const PrintIcon = () => (
  <Icon>
    <path d="M4.5 6V2.5h7V6M4.5 11.5h-2V6h11v5.5h-2" />
    <path d="M4.5 9.5h7v4h-7z" />
  </Icon>
);
export const DocumentIcon = () => (
  <Icon>
    <path d="M4 2.2h5.2L12 5v8.8H4z" />
    <path d="M6.2 8h3.6M6.2 10.6h3.6" />
  </Icon>
);
export const AuditIcon = () => (
  <Icon>
    <path d="M5.5 4h8M5.5 8h8M5.5 12h5" />
    <path d="M2.5 4h.1M2.5 8h.1M2.5 12h.1" />
  </Icon>
);
export const RunsIcon = () => (
  <Icon>
    <path d="M2.5 3.5h11v9h-11zM2.5 6.5h11M2.5 9.5h11M6 6.5v6" />
  </Icon>
);
export const CompareIcon = () => (
  <Icon>
    <path d="M5 13V3.2M2.6 5.6L5 3.2l2.4 2.4M11 3v9.8M8.6 10.4l2.4 2.4 2.4-2.4" />
  </Icon>
);
export const SunIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="2.9" />
    <path d="M8 1.6v1.2M8 13.2v1.2M1.6 8h1.2M13.2 8h1.2M3.5 3.5l.8.8M11.7 11.7l.8.8M3.5 12.5l.8-.8M11.7 4.3l.8-.8" />
  </Icon>
);
export const MoonIcon = () => (
  <Icon>
    <path d="M13.3 9.6A5.6 5.6 0 0 1 6.4 2.7a5.6 5.6 0 1 0 6.9 6.9z" />
  </Icon>
);
export const SystemIcon = () => (
  <Icon>
    <rect x="2" y="3" width="12" height="8" rx="1.5" />
    <path d="M6 13.5h4" />
  </Icon>
);
export const Shield = () => (
  <Icon width="18" height="18">
    <path d="M8 1.8l5 1.9v4c0 3.1-2.1 5.5-5 6.6-2.9-1.1-5-3.5-5-6.6v-4z" />
    <path d="M5.8 8l1.6 1.6 2.9-3.2" />
  </Icon>
);
export const PlanIcon = () => (
  <Icon>
    <path d="M2.5 4.5h4M9.5 4.5h4M2.5 11.5h7M12.5 11.5h1" />
    <circle cx="8" cy="4.5" r="1.5" />
    <circle cx="11" cy="11.5" r="1.5" />
  </Icon>
);
