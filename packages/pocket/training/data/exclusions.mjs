/**
 * What the model never sees: faith, national and political signs, mourning, trademarks that the
 * artwork's licence does not cover, and signs that are text rather than things.
 */

/** Emojibase subgroups dropped whole. */
export const EXCLUDED_SUBGROUPS = new Set([
  'alphanum', 'arrow', 'keycap', 'av-symbol', 'punctuation', 'math', 'currency', 'gender', 'family',
  'transport-sign', 'country-flag', 'subdivision-flag', 'skin-tone', 'hair-style', 'person-symbol',
  'religion', 'place-religious', 'place-map', 'zodiac',
])

/** Code points dropped one by one: trademarks (paperclips, video game, technologists), rude or no-smoking signs, plain signs. */
export const EXCLUDED_CODE_POINTS = new Set([
  '1f4ce', '1f587', '1f3ae', '1f9d1-200d-1f4bb', '1f468-200d-1f4bb', '1f469-200d-1f4bb',
  '1f595', '1f51e', '1f6ac', '1f6ad', '1f4f5', '1f4f4', '1f4f3', '1f17f', '3030',
])

/** Concept names (or parts of them) dropped for their meaning. */
const EXCLUDED_NAMES = [
  // faith and its festivals
  'prayer beads', 'hamsa', 'nazar amulet', 'menorah', 'kaaba', 'church', 'mosque', 'synagogue', 'shinto', 'hindu temple',
  'folded hands', 'baby angel', 'diya lamp', 'wearing turban', 'headscarf', 'skullcap', 'claus', 'christmas', 'wedding',
  'halo', 'om ', 'pine decoration', 'moai', 'crystal ball', 'angel', 'japanese dolls', 'moon viewing', 'tanabata',
  // death and mourning
  'coffin', 'funeral urn', 'headstone',
  // national and political signs
  'statue of liberty', 'tokyo tower', 'mount fuji', 'map of japan', 'world map', 'fleur-de-lis', 'raised fist', 'ballot box',
  'flag', 'banknote', 'with yen', 'trident', 'red envelope', 'carp streamer', 'shamrock', 'lotus position', 'guard', 'classical building', 'maple leaf', 'kimono', 'japanese castle', 'sari', 'peace symbol', 'hand: ',
  // words that no caption can carry well
  'vulcan salute', 'feeding baby', 'pregnant', "o'clock", 'medium square', 'medium-small square', 'small square', 'button', 'small orange', 'small blue',
  'wards hand', 'wards pushing hand', 'bell with slash', 'speaker low', 'speaker medium', 'muted speaker', 'breast-feeding', 'mx ', 'busts in silhouette', 'bust in silhouette', 'speaking head', 'squared', 'input ', 'identification card', 'love hotel', 'drop of blood', 'postal horn', 'japanese post office',
]

/** Twins of a "person ..." concept that only swap the gender; roles and fantasy figures keep theirs. */
const GENDERED_TWIN = /^(man|men|woman|women) (frowning|pouting|gesturing|tipping|raising|bowing|facepalming|shrugging|getting|walking|standing|kneeling|with white cane|in motorized|in manual|running|with bunny|in steamy|climbing|golfing|surfing|rowing|swimming|bouncing|lifting|biking|mountain|cartwheeling|wrestling|playing|juggling)/

export function isExcludedByName(name) {
  return EXCLUDED_NAMES.some((part) => name.includes(part)) || GENDERED_TWIN.test(name)
}

/** Keywords that mislead as captions: too wide, slang, or owned by another concept. */
export const EXCLUDED_KEYWORDS = new Set((
  'antarctica,virus,flavoring,diet,sour,mall,accessory,working,transport,settle,studio,recording,system,facing,tidy,collage,load,' +
  'scenery,compress,rings,string,engine,colors,museum,entrance,tabletop,internet,www,web,africa,europe,asia,america,bones,closet,exit,' +
  'appetizer,gate,roof,bullet,derby,racehorse,sow,ewe,lamb,strawberry,nature,desert,italy,party,pepperoni,cheese,chocolate,cream,bar,lead,' +
  'gloss,bread,fruit,vegetable,meat,fish,plate,bowl,cup,glass,station,track,set,box,red,blue,board,shield,field,court,stick,ball,net,hole,line,' +
  'foggy,pen,temple,prayer,pray,god,religion,religious,christian,christianity,church,jesus,muslim,islam,jew,jewish,judaism,hindu,hinduism,' +
  'buddhist,buddhism,angel,saint,sacred,worship,spiritual,christmas,xmas,santa,easter,hanukkah,diwali,ramadan,halloween,thanksgiving,' +
  'japan,japanese,china,chinese,korea,korean,mexico,mexican,india,indian,france,french,america,american,usa,russia,russian,britain,british,' +
  'germany,nation,national,country,patriotic,war,kill,death,dead,murder,suicide,drug,drugs,cigarette,weed,sex,sexy,butt,penis,gun,weapon,' +
  'adorbs,omg,lol,rofl,yolo,bff,asap,hundo,lit,goat,boss,queen,king,slay,sus,bae,woke,extra,salty,shook,snatched,thirsty,tea,mood,dope,fly,fire'
).split(','))
