// Numbers for people.

export const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value < 99.95 ? 1 : 0)} %`;
};

export const ms = (value) => `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)} ms`;

export const megabytes = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} MB`;

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** The value that the share `q` of the sorted numbers does not pass (nearest rank). */
export const quantile = (sorted, q) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
