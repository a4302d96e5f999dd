/** English helpers for captions: articles, plural and mass nouns, text folding. */

const PLURAL_NOUNS = new Set((
  'grapes,cherries,chopsticks,scissors,glasses,sunglasses,goggles,jeans,shorts,briefs,gloves,socks,fireworks,sparkles,french fries,' +
  'pancakes,peanuts,beans,chestnuts,dice,drumsticks,ski boots,skis,eyes,lips,footprints,paw prints,books,musical notes,crossed swords,' +
  'handcuffs,chains,headphones,curly loops,clinking beer mugs,clinking glasses,balance scales,mountains,houses,derelict houses,baggage,' +
  'fries,flames,autumn leaves,drums,eyeglasses,dark sunglasses,swords,piano keys,fallen leaf,performing arts,admission tickets,' +
  'card index dividers,game dice,two hearts,revolving hearts,heart hands,clapping hands,raising hands,open hands,people hugging,' +
  'men with bunny ears,women with bunny ears,people with bunny ears,men wrestling,women wrestling,people wrestling,chess pieces,bubbles,' +
  'nesting dolls,carp streamers,film frames,control knobs,bricks,crossed fingers,palms up together,people holding hands'
).split(','))

const MASS_NOUNS = new Set((
  'bread,milk,coffee,tea,green tea,cooked rice,curry rice,spaghetti,pasta,fire,water,snow,fog,rice,popcorn,bacon,garlic,broccoli,' +
  'ginger root,butter,cheese,honey,salt,sushi,ramen,wine,sake,beer,love,money,hot coffee,leafy green,chocolate,poop,lightning,' +
  'shaved ice,wood,soap,yarn,thread,applause,confetti,art,music,jewelry,earth,planet earth,saturn,noodle soup,boba tea,bubble tea,' +
  'bowling,cricket game,golf,salad,dna,corn,corn on the cob'
).split(','))

/** A noun phrase with its indefinite article, or bare where English takes none. */
export function withArticle(noun) {
  if (PLURAL_NOUNS.has(noun) || MASS_NOUNS.has(noun)) return noun
  if (/^(two|three|pair of glasses|half an|number|planet|earth)\b/.test(noun)) return noun
  if (/^(unicorn|unicycle|ufo|uni|european|euro|one|use|ukulele|university)/i.test(noun)) return `a ${noun}`
  return `${/^([aeiou]|hour|honest|x-ray)/i.test(noun) ? 'an' : 'a'} ${noun}`
}

/** Lower case, straight quotes, no accents. */
export function fold(text) {
  return text.toLowerCase().replace(/[’‘]/g, "'").replace(/[“”]/g, '"').normalize('NFD').replace(/[\u0300-\u036f]/g, '')
}

/** "person: red hair" -> "person with red hair". */
export function captionName(label) {
  return fold(label)
    .replace(/^(person|man|woman): (.+)$/, (_, who, trait) => {
      if (trait.includes('bald')) return `bald ${who}`
      if (trait.includes('beard')) return `${who} with a beard`
      return trait.includes('hair') ? `${who} with ${trait}` : `${who}, ${trait}`
    })
    .replace(/!/g, '')
}
